"""Integrate the teacher's fine ODE from the fixed evaluation noise."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from ttfm.devices import pick_device
from ttfm.files import Spool, write_arrays
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
from ttfm.steps.decoding import decoder, image_shape
from ttfm.steps.keeping import spent, spent_argument
from ttfm.steps.stored import load_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from torch import Tensor

    from ttfm.flow.solvers import Field

KEPT_TIMES = 33
KEPT_PATHS, PATH_NUMBERS = 64, 2**20
"""Trajectories that are kept; fewer where one state of all of them would be more numbers than this."""
KEPT_IMAGES, IMAGE_NUMBERS = 1024, 2**26
"""Images whose noise and solution are kept as floats: what training follows, and what figures show; fewer likewise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    images_argument(parser)
    teacher_arguments(parser)
    spent_argument(parser)
    path_argument(parser, "out", "where to write noise, solution and trajectories (npz)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write x0, x1 ``(N, *shape)``, times ``(M,)`` and the first P trajectories ``(M, P, *shape)``.

    A closed-form velocity is integrated in float64, so that the solver's error stays far below every student's. Where a
    learned teacher failed, or its solution is not finite, nothing is kept and the record says why. Of images x0 and x1
    are those of the first 1,024 indices (fewer of large images), and ``pixels`` ``(N, C, H, W)`` holds all solutions,
    decoded where they are latents, as bytes: the noise of an index can be drawn again, and what is compared is bytes.
    """
    from ttfm.training.states import remove

    started, states = now(), spent([arguments])
    config = read_config(arguments.config, arguments.images)
    device = pick_device(config["device"])
    reason = "" if config["closed_form"] else teacher_failure(arguments.teacher_record)
    with Spool(arguments.out.parent) as pixels:
        arrays, reason = ({}, reason) if reason else _solve(config, arguments, device, pixels)
        write_arrays(arguments.out, arrays)
    status = "failed" if reason else "ok"
    write_record(arguments.record, config, device, started, status=status, reason=reason)
    remove(states)


def _solve(
    config: dict[str, Any], arguments: argparse.Namespace, device: str, pixels: Spool
) -> tuple[dict[str, np.ndarray], str]:
    """The arrays and no reason, or no arrays and the reason; images go into ``pixels``."""
    import numpy as np

    field = teacher_field(config, load_network(arguments.teacher, config, device))
    count = config["evaluation"]["samples"]
    images = config["kind"] == "images"
    size = piece_size(config["shape"]) if images else count
    found: dict[str, np.ndarray] = {}
    decode = decoder(config, arguments.images, device)
    most = min(KEPT_IMAGES, IMAGE_NUMBERS // math.prod(config["shape"]))
    paths: list[np.ndarray] = []
    for start in range(0, count, size):
        end = min(start + size, count)
        states = _integrate(config, arguments, field, device, start, end)
        if states is None:
            return {}, "the teacher's fine ODE solution is not finite"
        if images:
            import torch

            from ttfm.evaluation.quantisation import quantise

            decoded = decode(torch.from_numpy(states["x1"]))
            if not decoded.isfinite().all():
                return {}, "the teacher's fine ODE solution is too large to be decoded"
            pixels.add(quantise(decoded).numpy())
        if start < most:
            kept = {name: states[name][: most - start] if images else states[name] for name in ("x0", "x1")}
            found |= {name: np.concatenate([found[name], kept[name]]) if start else kept[name] for name in kept}
        if sum(path.shape[1] for path in paths) < _kept_paths(config):
            paths.append(states["paths"])
            found["times"] = states["times"]
    found["paths"] = np.concatenate(paths, axis=1)[:, : _kept_paths(config)]
    return found | ({"pixels": pixels.array("uint8", (count, *image_shape(config)))} if images else {}), ""


def _kept_paths(config: dict[str, Any]) -> int:
    return max(1, min(KEPT_PATHS, PATH_NUMBERS // math.prod(config["shape"])))


def _integrate(
    config: dict[str, Any], arguments: argparse.Namespace, field: Field, device: str, start: int, end: int
) -> dict[str, np.ndarray] | None:
    """Noise, solution, times and first trajectories of the indices start .. end-1; None if one is not finite."""
    import numpy as np
    import torch

    evaluation = config["evaluation"]
    x0 = source_noise(config, evaluation["seed"], end, "evaluation-noise", images=arguments.images, start=start)
    state = x0.to(device, torch.float64 if config["closed_form"] else torch.float32)
    steps = evaluation.get("steps", KEPT_TIMES - 1)
    kept = kept_steps(steps, KEPT_TIMES)
    solved = _trajectory(evaluation, field, state)
    states = progress(solved, steps + 1, f"{config['problem']}: fine ODE, samples {start} to {end}")
    paths = []
    with torch.no_grad(), labelled(config, end - start, device, start):
        for index, state in enumerate(states):
            if index in kept:
                paths.append(state[: _kept_paths(config)].float().cpu().numpy())
    if not state.isfinite().all():
        return None
    return {
        "x0": x0.numpy(),
        "x1": state.float().cpu().numpy(),
        "times": (kept / steps).astype(np.float32),
        "paths": np.stack(paths),
    }


def _trajectory(evaluation: dict[str, Any], field: Field, x: Tensor) -> Iterator[Tensor]:
    """All states of an integration: at every step of a fixed-step solver, at the times to keep of an adaptive one."""
    import torch

    from ttfm.flow.adaptive import dopri5
    from ttfm.flow.solvers import trajectory

    if evaluation["solver"] == "dopri5":
        times = torch.linspace(0, 1, KEPT_TIMES, dtype=torch.float64)
        return dopri5(field, x, times, evaluation["rtol"], evaluation["atol"])
    return trajectory(field, x, evaluation["solver"], evaluation["steps"])
