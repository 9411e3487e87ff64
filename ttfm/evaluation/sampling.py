"""Sampling with a fixed number of steps: what a loss learns decides how its model is sampled."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ttfm.flow.interpolant import interpolate
from ttfm.flow.solvers import Field, solve

Map = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A flow map ``phi(s, t, x)``: times ``(B,)`` and states ``(B, *shape)`` to states ``(B, *shape)``."""


def _times(x: Tensor, value: float) -> Tensor:
    return x.new_full((len(x),), value)


@torch.no_grad()
def any_to_any_path(flow_map: Map, x0: Tensor, steps: int) -> list[Tensor]:
    """The ``steps + 1`` states of ``steps`` jumps over equal intervals of [0, 1], from noise ``x0`` ``(N, *shape)``."""
    path = [x0]
    for i in range(steps):
        path.append(flow_map(_times(x0, i / steps), _times(x0, (i + 1) / steps), path[-1]))
    return path


@torch.no_grad()
def consistency_sample(flow_map: Map, x0: Tensor, steps: int, renoise: Callable[[int], Tensor]) -> Tensor:
    """Multistep consistency sampling (Song et al., arXiv 2303.01469, algorithm 1), on equally spaced times.

    Every step jumps to t = 1; between steps the sample is carried back to time i / steps along the interpolant with
    fresh noise.

    Args:
        flow_map: only its jumps to t = 1 are used.
        x0: noise, shape ``(N, *shape)``.
        steps: number of jumps.
        renoise: fresh noise of ``x0``'s shape for step i = 1, 2, ..., a function of the samples' indices.
    """
    x1 = flow_map(_times(x0, 0.0), _times(x0, 1.0), x0)
    for i in range(1, steps):
        s = _times(x0, i / steps)
        x1 = flow_map(s, _times(x0, 1.0), interpolate(renoise(i), x1, s))
    return x1


@torch.no_grad()
def velocity_sample(field: Field, x0: Tensor, steps: int) -> Tensor:
    """``steps`` Euler steps of a velocity field from noise ``x0`` ``(N, *shape)``."""
    return solve(field, x0, "euler", steps)
