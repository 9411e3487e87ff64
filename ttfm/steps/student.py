"""Train a student with one loss: one seed, or several at once."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ttfm.devices import pick_device
from ttfm.files import read_json
from ttfm.provenance import now
from ttfm.steps.common import (
    build_loss,
    config_argument,
    failure,
    images_argument,
    labelled,
    offline_arguments,
    path_argument,
    piece_size,
    read_config,
    teacher_arguments,
    teacher_failure,
    teacher_field,
)
from ttfm.steps.stored import load_network, load_trajectories, tensors
from ttfm.steps.training import NOTHING_BEFORE, Training, no_training, output_arguments, run_training

if TYPE_CHECKING:
    from torch import nn

PROBED = 512
"""Number of evaluation noises on which the map error is followed during training."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    images_argument(parser)
    teacher_arguments(parser)
    path_argument(parser, "solution", "the teacher's fine ODE solution (npz), to follow the map error")
    path_argument(parser, "solution-record", "the record of that solution (JSON)")
    offline_arguments(parser)
    path_argument(parser, "start", "weights of another student to start from (safetensors)", required=False)
    path_argument(parser, "start-record", "that student's training record (JSON)", required=False)
    output_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train and write weights, curve and record; a failed run, a failed teacher included, is a record that says why."""
    run_all([arguments])


def run_all(runs: list[argparse.Namespace]) -> None:
    """The same for several runs, all at once where they differ in their seeds only."""
    started = now()
    trainings: list[Training] = []
    configs = [read_config(arguments.config, arguments.images) for arguments in runs]
    device = pick_device(configs[0]["device"])
    for config, arguments in zip(configs, runs, strict=True):
        if reason := _cannot_start(config, arguments):
            no_training(config, device, started, arguments, reason)
        else:
            trainings.append(_training(config, device, arguments))
    if trainings:
        run_training(trainings, device, started)


def _cannot_start(config: dict[str, Any], arguments: argparse.Namespace) -> str:
    """Why the run cannot begin; empty if it can."""
    if cause := failure(arguments.solution_record):
        return cause
    if config["start"] == "teacher" and (cause := teacher_failure(arguments.teacher_record)):
        return cause
    if config["start"] not in ("teacher", "random"):
        if not (arguments.start and arguments.start_record):
            raise ValueError(f"start: {config['start']!r} is another student; give --start and --start-record")
        if cause := failure(arguments.start_record):
            return f"{config['start']}, which it starts from, failed: {cause}"
    return ""


def _initial_network(config: dict[str, Any], arguments: argparse.Namespace, device: str) -> nn.Module:
    import torch

    from ttfm.registry import build_network
    from ttfm.seeds import generator

    # Before anything is built: a loss may add layers of its own to a network that is loaded.
    torch.manual_seed(generator(config["seed"], "init").initial_seed())
    if config["start"] == "random":
        return build_network(config["network"], config["shape"]).to(device)
    return load_network(arguments.teacher if config["start"] == "teacher" else arguments.start, config, device)


def _training(config: dict[str, Any], device: str, arguments: argparse.Namespace) -> Training:
    import torch

    from ttfm.evaluation import paired
    from ttfm.flow.flow_map import FlowMap
    from ttfm.registry import build_data, build_source
    from ttfm.training.ranks import join
    from ttfm.training.trainer import Trainer, TrainingOptions

    loss = build_loss(config)
    solution = tensors(arguments.solution, ("x0", "x1"))
    x0, x1 = solution["x0"][:PROBED].to(device), solution["x1"][:PROBED]
    size = piece_size(config["shape"]) if config["kind"] == "images" else PROBED

    # The headline of points and the pixel error of images: the same numbers as in the tables.
    distance = paired.endpoint_rmse if config["kind"] == "points" else paired.l2

    @torch.no_grad()
    def map_error(averaged: torch.nn.Module) -> float:
        ends = []
        for piece, part in enumerate(x0.split(size)):
            zeros = part.new_zeros(len(part))
            with labelled(config, len(part), device, piece * size):
                ends.append(FlowMap(averaged)(zeros, zeros + 1, part).cpu())
        return distance(torch.cat(ends), x1)

    before = None
    if config["start"] not in ("teacher", "random"):
        earlier = read_json(arguments.start_record)
        before = {key: earlier["before"][key] + earlier[key] for key in ("iterations", "seconds")}
    trajectories = load_trajectories(arguments, loss, device, config)
    schedules = trajectories.schedules if trajectories else None
    data = build_data(config["data"], arguments.images)
    trainer = Trainer(
        loss.wrap(_initial_network(config, arguments, device), tuple(config["shape"]), schedules).to(device),
        loss,
        data,
        teacher_field(config, load_network(arguments.teacher, config, device)),
        TrainingOptions(**config["training"]),
        config["seed"],
        stream="batch",
        probe=None if loss.learns == "own" else map_error,
        trajectories=trajectories,
        source=build_source(config["source"], data),
        ranks=join(device),
    )
    limit = paired.DIVERGED * distance(x1, torch.zeros_like(x1))
    return Training(trainer, config, arguments, before or dict(NOTHING_BEFORE), limit)
