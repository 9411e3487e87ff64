"""Integrate the teacher's fine ODE from the fixed evaluation noise."""

from __future__ import annotations

import argparse

from ttfm.files import write_arrays
from ttfm.provenance import now
from ttfm.steps.common import (
    config_argument,
    load_network,
    path_argument,
    pick_device,
    read_config,
    record_argument,
    teacher_field,
    write_record,
)

KEPT_TIMES = 33
KEPT_PATHS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "teacher", "the teacher's weights (safetensors)")
    path_argument(parser, "out", "where to write noise, solution and trajectories (npz)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write x0, x1 ``(N, *shape)``, times ``(M,)`` and the first P trajectories ``(M, P, *shape)``.

    A closed-form velocity is integrated in float64, so that the solver's error stays far below every student's.
    """
    import numpy as np
    import torch

    from ttfm.flow.solvers import trajectory
    from ttfm.seeds import indexed_noise

    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    evaluation = config["evaluation"]
    field = teacher_field(config, load_network(arguments.teacher, config, device))
    x0 = indexed_noise(evaluation["seed"], evaluation["samples"], tuple(config["shape"]))
    state = x0.to(device, torch.float64 if config["closed_form"] else torch.float32)
    steps = evaluation["steps"]
    kept = np.unique(np.linspace(0, steps, KEPT_TIMES).round().astype(int))
    states = trajectory(field, state, evaluation["solver"], steps)
    paths = []
    with torch.no_grad():
        for index, state in enumerate(states):
            if index in kept:
                paths.append(state[:KEPT_PATHS].float().cpu().numpy())
    arrays = {
        "x0": x0.numpy(),
        "x1": state.float().cpu().numpy(),
        "times": (kept / steps).astype(np.float32),
        "paths": np.stack(paths),
    }
    write_arrays(arguments.out, arrays)
    write_record(arguments.record, config, device, started)
