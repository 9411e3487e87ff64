"""Store trajectories of the teacher's ODE for the losses that train on them."""

from __future__ import annotations

import argparse

from ttfm.files import write_arrays
from ttfm.provenance import now
from ttfm.steps.common import (
    config_argument,
    failure,
    load_network,
    path_argument,
    pick_device,
    read_config,
    record_argument,
    source_noise,
    teacher_field,
    write_record,
)

BATCH = 4096
"""Trajectories that are integrated at once."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "teacher", "the teacher's weights (safetensors)")
    path_argument(parser, "teacher-record", "the teacher's training record (JSON)")
    path_argument(parser, "out", "where to write the arrays times (M,) and path (M, N, *shape) (npz)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write N trajectories from fresh noise at M times of the solver's grid, its ends included.

    The noise is that of training: no trajectory shares it with the evaluation.
    """
    import numpy as np
    import torch

    from ttfm.flow.solvers import trajectory

    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    asked = config["trajectories"]
    reason = "" if config["closed_form"] else failure(arguments.teacher_record)
    kept = np.unique(np.linspace(0, asked["steps"], asked["kept"]).round().astype(int))
    times, path = (kept / asked["steps"]).astype(np.float32), []
    if not reason:
        field = teacher_field(config, load_network(arguments.teacher, config, device))
        noise = source_noise(config, asked["seed"], asked["count"], "trajectory-noise")
        with torch.no_grad():
            for x0 in noise.to(device).split(BATCH):
                states = enumerate(trajectory(field, x0, asked["solver"], asked["steps"]))
                path.append(torch.stack([state for index, state in states if index in kept]).cpu())
    arrays = {"times": times, "path": torch.cat(path, dim=1).numpy()} if path else {}
    write_arrays(arguments.out, arrays)
    status = "failed" if reason else "ok"
    write_record(arguments.record, config, device, started, status=status, reason=reason)
