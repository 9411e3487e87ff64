"""Train one student with one loss and one seed."""

from __future__ import annotations

import argparse
from typing import Any

from ttfm.provenance import now
from ttfm.steps.common import (
    config_argument,
    failure,
    load_network,
    path_argument,
    pick_device,
    read_config,
    teacher_field,
    tensors,
)
from ttfm.steps.training import no_training, output_arguments, run_training

PROBED = 512
"""Number of evaluation noises on which the map error is followed during training."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "teacher", "the teacher's weights (safetensors), which the student starts from")
    path_argument(parser, "teacher-record", "the teacher's training record (JSON)")
    path_argument(parser, "solution", "the teacher's fine ODE solution (npz), to follow the map error")
    path_argument(parser, "solution-record", "the record of that solution (JSON)")
    output_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train and write weights, curve and record; a failed run, a failed teacher included, is a record that says why."""
    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    reason = failure(arguments.solution_record)
    if not reason and config["initialisation"] == "teacher" and (cause := failure(arguments.teacher_record)):
        reason = f"the teacher failed: {cause}"
    if reason:
        no_training(config, device, started, arguments, reason)
    else:
        _train(config, device, started, arguments)


def _train(config: dict[str, Any], device: str, started: str, arguments: argparse.Namespace) -> None:
    import torch

    from ttfm.evaluation.distances import endpoint_rmse, l2
    from ttfm.flow.flow_map import FlowMap
    from ttfm.losses import load_modules
    from ttfm.registry import build_data, build_network
    from ttfm.seeds import generator
    from ttfm.training.trainer import Trainer, TrainingOptions

    losses = load_modules(tuple(config["loss_modules"]))
    teacher_network = load_network(arguments.teacher, config, device)
    if config["initialisation"] == "teacher":
        network = load_network(arguments.teacher, config, device)
    else:
        torch.manual_seed(generator(config["seed"], "init").initial_seed())
        network = build_network(config["network"], config["shape"]).to(device)
    solution = tensors(arguments.solution)
    x0, x1 = solution["x0"][:PROBED].to(device), solution["x1"][:PROBED]

    # The headline of points and the pixel error of images: the same numbers as in the tables.
    distance = endpoint_rmse if config["kind"] == "points" else l2

    @torch.no_grad()
    def map_error(averaged: torch.nn.Module) -> float:
        zeros = x0.new_zeros(len(x0))
        return distance(FlowMap(averaged)(zeros, zeros + 1, x0).cpu(), x1)

    trainer = Trainer(
        network,
        losses[config["loss"]["name"]](**config["loss"]["options"]),
        build_data(config["data"]),
        teacher_field(config, teacher_network),
        TrainingOptions(**config["training"]),
        config["seed"],
        stream="batch",
        probe=map_error,
    )
    run_training(trainer, config, device, started, arguments)
