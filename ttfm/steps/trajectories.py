"""Store trajectories of the teacher's ODE for the losses that train on them."""

from __future__ import annotations

import argparse
from typing import Any

from ttfm.devices import pick_device
from ttfm.files import write_arrays
from ttfm.provenance import now
from ttfm.steps.common import (
    config_argument,
    images_argument,
    kept_steps,
    labelled,
    path_argument,
    piece_size,
    progress,
    read_config,
    record_argument,
    source_noise,
    teacher_arguments,
    teacher_failure,
    teacher_field,
    write_record,
)
from ttfm.steps.stored import load_network

BATCH = 4096
"""Trajectories of points that are integrated at once."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    images_argument(parser)
    teacher_arguments(parser)
    path_argument(parser, "out", "where to write the arrays times (M,) and path (M, N, *shape) (npz)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write N trajectories from fresh noise at M times of the solver's grid.

    The noise is that of training: no trajectory shares it with the evaluation.
    """
    import numpy as np
    import torch

    from ttfm.flow.solvers import trajectory

    started = now()
    config = read_config(arguments.config, arguments.images)
    device = pick_device(config["device"])
    asked = config["trajectories"]
    reason = "" if config["closed_form"] else teacher_failure(arguments.teacher_record)
    kept = kept_steps(asked["steps"], asked["kept"])
    times, path = (kept / asked["steps"]).astype(np.float32), []
    if not reason:
        field = teacher_field(config, load_network(arguments.teacher, config, device))
        noise = source_noise(config, asked["seed"], asked["count"], "trajectory-noise", images=arguments.images)
        size = at_once(config)
        pieces = noise.split(size)
        with torch.no_grad():
            for piece, x0 in enumerate(progress(pieces, len(pieces), f"{config['problem']}: trajectories", "batch")):
                with labelled(config, len(x0), device, piece * size):
                    steps = enumerate(trajectory(field, x0.to(device), asked["solver"], asked["steps"]))
                    path.append(torch.stack([state for index, state in steps if index in kept]).cpu())
    write_arrays(arguments.out, {"times": times, "path": torch.cat(path, dim=1).numpy()} if path else {})
    status = "failed" if reason else "ok"
    write_record(arguments.record, config, device, started, status=status, reason=reason)


def at_once(config: dict[str, Any]) -> int:
    """Trajectories that are integrated at once."""
    return piece_size(config["shape"]) if config["kind"] == "images" else BATCH
