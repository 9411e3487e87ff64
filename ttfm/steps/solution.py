"""Integrate the teacher's fine ODE from the fixed evaluation noise."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ttfm.files import write_arrays
from ttfm.provenance import now
from ttfm.steps.common import (
    config_argument,
    images_argument,
    kept_steps,
    labelled,
    load_network,
    path_argument,
    pick_device,
    progress,
    read_config,
    record_argument,
    source_noise,
    teacher_arguments,
    teacher_failure,
    teacher_field,
    write_record,
)

if TYPE_CHECKING:
    import numpy as np

KEPT_TIMES = 33
KEPT_PATHS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    images_argument(parser)
    teacher_arguments(parser)
    path_argument(parser, "out", "where to write noise, solution and trajectories (npz)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write x0, x1 ``(N, *shape)``, times ``(M,)`` and the first P trajectories ``(M, P, *shape)``.

    A closed-form velocity is integrated in float64, so that the solver's error stays far below every student's. Where a
    learned teacher failed, or its solution is not finite, nothing is kept and the record says why.
    """
    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    reason = "" if config["closed_form"] else teacher_failure(arguments.teacher_record)
    arrays, reason = ({}, reason) if reason else _solve(config, arguments, device)
    write_arrays(arguments.out, arrays)
    status = "failed" if reason else "ok"
    write_record(arguments.record, config, device, started, status=status, reason=reason)


def _solve(config: dict[str, Any], arguments: argparse.Namespace, device: str) -> tuple[dict[str, np.ndarray], str]:
    """The arrays and no reason, or no arrays and the reason."""
    import numpy as np
    import torch

    from ttfm.flow.solvers import trajectory

    evaluation = config["evaluation"]
    field = teacher_field(config, load_network(arguments.teacher, config, device))
    x0 = source_noise(config, evaluation["seed"], evaluation["samples"], "evaluation-noise", images=arguments.images)
    state = x0.to(device, torch.float64 if config["closed_form"] else torch.float32)
    steps = evaluation["steps"]
    kept = kept_steps(steps, KEPT_TIMES)
    solved = trajectory(field, state, evaluation["solver"], steps)
    states = progress(solved, steps + 1, f"{config['problem']}: fine ODE")
    paths = []
    with torch.no_grad(), labelled(config, len(x0), device):
        for index, state in enumerate(states):
            if index in kept:
                paths.append(state[:KEPT_PATHS].float().cpu().numpy())
    if not state.isfinite().all():
        return {}, "the teacher's fine ODE solution is not finite"
    return {
        "x0": x0.numpy(),
        "x1": state.float().cpu().numpy(),
        "times": (kept / steps).astype(np.float32),
        "paths": np.stack(paths),
    }, ""
