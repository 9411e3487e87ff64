"""Train a problem's teacher, take one that was trained elsewhere, or fit the common start of a closed-form
one's students.
"""

from __future__ import annotations

import argparse

from ttfm.devices import pick_device
from ttfm.provenance import now
from ttfm.steps.common import build_loss, config_argument, images_argument, read_config
from ttfm.steps.imported import import_teacher
from ttfm.steps.training import Training, output_arguments, run_training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    images_argument(parser)
    output_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train and write weights, curve and record."""
    import torch

    from ttfm.registry import build_data, build_network, build_source
    from ttfm.seeds import generator
    from ttfm.training.ranks import join
    from ttfm.training.trainer import Trainer, TrainingOptions

    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    if "import" in config:
        import_teacher(config, device, started, arguments)
        return
    data = build_data(config["data"], arguments.images)
    torch.manual_seed(generator(config["seed"], "init").initial_seed())
    trainer = Trainer(
        build_network(config["network"], config["shape"]).to(device),
        build_loss(config),
        data,
        data.field() if config["closed_form"] else None,
        TrainingOptions(**config["training"]),
        config["seed"],
        stream="teacher-batch",
        source=build_source(config["source"], data),
        ranks=join(device),
    )
    run_training([Training(trainer, config, arguments)], device, started)
