"""Find the best few Euler steps along the teacher's stored trajectories."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ttfm.devices import pick_device
from ttfm.files import write_arrays
from ttfm.provenance import now
from ttfm.steps.common import (
    config_argument,
    failure,
    images_argument,
    labelled,
    path_argument,
    read_config,
    record_argument,
    teacher_field,
    write_record,
)
from ttfm.steps.stored import load_network, tensors
from ttfm.steps.trajectories import at_once

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ttfm.flow.solvers import Field

SCHEDULED = 1024
"""Trajectories by which schedules are judged."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    images_argument(parser)
    path_argument(parser, "teacher", "the teacher's weights (safetensors)")
    path_argument(parser, "trajectories", "the teacher's stored trajectories (npz)")
    path_argument(parser, "trajectories-record", "their record (JSON)")
    path_argument(parser, "out", "where to write the arrays schedule_k (k+1,), the times of k steps (npz)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the best schedule of every number of Euler steps on the stored times."""
    started = now()
    config = read_config(arguments.config, arguments.images)
    device = pick_device(config["device"])
    reason, found = failure(arguments.trajectories_record), {}
    if not reason:
        field = teacher_field(config, load_network(arguments.teacher, config, device))
        stored = tensors(arguments.trajectories, ("times", "path"))
        found = _schedules(config, field, stored["times"], stored["path"], device)
    write_arrays(arguments.out, found)
    status = "failed" if reason else "ok"
    write_record(arguments.record, config, device, started, status=status, reason=reason)


def _schedules(config: dict[str, Any], field: Field, times: Tensor, path: Tensor, device: str) -> dict[str, np.ndarray]:
    """By the first trajectories and the teacher's velocities."""
    import torch

    from ttfm.flow.schedules import optimal_schedules

    few, size = path[:, :SCHEDULED], at_once(config)

    def velocity(time: Tensor, x: Tensor) -> Tensor:
        parts = []
        for piece, part in enumerate(x.split(size)):
            with labelled(config, len(part), device, piece * size):
                parts.append(field(time.expand(len(part)).to(device), part.to(device)).cpu())
        return torch.cat(parts)

    with torch.no_grad():
        velocities = [velocity(time, x) for time, x in zip(times, few, strict=True)]
    found = optimal_schedules(times, few, torch.stack(velocities))
    return {f"schedule_{steps}": schedule.numpy() for steps, schedule in found.items()}
