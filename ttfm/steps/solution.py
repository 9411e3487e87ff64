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
    from collections.abc import Iterator

    import numpy as np
    from torch import Tensor

    from ttfm.flow.solvers import Field

KEPT_TIMES = 33
KEPT_PATHS = 64
PIECE = 2**22
"""Components of the states that are integrated at once: all samples of points, some hundreds of images."""


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

    evaluation = config["evaluation"]
    field = teacher_field(config, load_network(arguments.teacher, config, device))
    x0 = source_noise(config, evaluation["seed"], evaluation["samples"], "evaluation-noise", images=arguments.images)
    steps = evaluation.get("steps", KEPT_TIMES - 1)
    kept = kept_steps(steps, KEPT_TIMES)
    pieces = x0.split(max(KEPT_PATHS, PIECE // x0[0].numel()))
    ends, paths = [], []
    states = progress(_states(config, field, pieces, device), len(pieces) * (steps + 1), f"{config['problem']}: ODE")
    with torch.no_grad():
        for number, state in enumerate(states):
            piece, index = divmod(number, steps + 1)
            if piece == 0 and index in kept:
                paths.append(state[:KEPT_PATHS].float().cpu().numpy())
            if index == steps:
                ends.append(state.float().cpu())
    solution = torch.cat(ends)
    if not solution.isfinite().all():
        return {}, "the teacher's fine ODE solution is not finite"
    return {
        "x0": x0.numpy(),
        "x1": solution.numpy(),
        "times": (kept / steps).astype(np.float32),
        "paths": np.stack(paths),
    }, ""


def _states(config: dict[str, Any], field: Field, pieces: tuple[Tensor, ...], device: str) -> Iterator[Tensor]:
    """All states of every piece's integration, one piece after the other."""
    import torch

    from ttfm.flow.adaptive import dopri5
    from ttfm.flow.solvers import trajectory

    evaluation, first = config["evaluation"], 0
    for x0 in pieces:
        x = x0.to(device, torch.float64 if config["closed_form"] else torch.float32)
        with labelled(config, len(x), device, first):
            if evaluation["solver"] == "dopri5":
                times = torch.linspace(0, 1, KEPT_TIMES, dtype=torch.float64)
                yield from dopri5(field, x, times, evaluation["rtol"], evaluation["atol"])
            else:
                yield from trajectory(field, x, evaluation["solver"], evaluation["steps"])
        first += len(x)
