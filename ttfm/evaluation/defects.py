"""How far a two-timed map is from being a flow map: exact identities, measured where trajectories really pass.

Both defects are root mean square norms of vectors over the whole sample: they are not divided by the square root of
the dimension, for points and images alike, so that they read in the same unit as the endpoint error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ttfm.flow.interpolant import expand
from ttfm.flow.solvers import Field

ROUNDS, VALUES = 16, 2**21
"""How often all P states pass through the network at once, at most, and about how many numbers they may then hold."""


class TwoTimedMap(Protocol):
    """What a defect needs of a flow map, learned or exact; :class:`ttfm.flow.flow_map.FlowMap` is one."""

    def __call__(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """phi_{s,x}(t), shape ``(B, *shape)``, for times ``(B,)`` and states ``(B, *shape)``."""

    def average_velocity(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """u(s, t, x), shape ``(B, *shape)``."""

    def lagrangian(self, s: Tensor, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""The pair u, :math:`\partial_t u` at (s, t, x), each of shape ``(B, *shape)``."""


@torch.no_grad()
def semigroup_defect(flow_map: TwoTimedMap, times: Tensor, paths: Tensor, triples: int = 64, seed: int = 0) -> float:
    r"""Two jumps against one: the root mean square of :math:`|\phi_{r, \phi_{s,x_s}(r)}(t) - \phi_{s,x_s}(t)|`.

    The mean runs over a fixed draw of triples s < r < t of the grid and, for each, all P states :math:`x_s` (the
    semigroup identity, Boffi et al., arXiv 2505.18825).

    Args:
        flow_map: the map; put it into evaluation mode first.
        times: increasing times in [0, 1], shape ``(M,)``, M >= 3.
        paths: the teacher's trajectories at these times, shape ``(M, P, *shape)``.
        triples: number of triples, drawn without replacement; all there are if the grid has fewer.
        seed: seed of the draw.

    Raises:
        ValueError: if ``times`` and ``paths`` do not fit, there are fewer than three times, or the result is
            not finite.
    """
    _check(times, paths, least=3)
    every = list(combinations(range(len(times)), 3))
    chosen = np.random.default_rng(seed).permutation(len(every))[:triples]
    s, r, t = (times[list(index)] for index in zip(*(every[i] for i in chosen), strict=True))
    start = paths[[every[i][0] for i in chosen]]

    def gap(s: Tensor, r: Tensor, t: Tensor, x: Tensor) -> Tensor:
        return flow_map(r, t, flow_map(s, r, x)) - flow_map(s, t, x)

    states = start.flatten(0, 1)
    columns = [time.to(states).repeat_interleave(paths.shape[1]) for time in (s, r, t)]
    pieces = zip(*(value.split(_rows(paths)) for value in (*columns, states)), strict=True)
    return _root_mean_square([gap(*piece) for piece in pieces], "semigroup defect")


@torch.no_grad()
def tangent_defect(flow_map: TwoTimedMap, velocity: Field, times: Tensor, paths: Tensor, latest: float = 0.98) -> float:
    r"""The diagonal against the teacher: the root mean square of :math:`|u(s, s, x_s) - v_s(x_s)|`.

    The mean runs over all times s <= ``latest`` of the grid and all P states. Later times are left out because the
    velocity of the linear path is stiff there (it grows like 1 / (1 - t)) and would decide the value alone.

    Args:
        flow_map: the map; put it into evaluation mode first.
        velocity: the teacher's velocity field.
        times: increasing times in [0, 1], shape ``(M,)``.
        paths: the teacher's trajectories at these times, shape ``(M, P, *shape)``.
        latest: the last time that counts.

    Raises:
        ValueError: if ``times`` and ``paths`` do not fit, no time is early enough, or the result is not finite.
    """
    early = times <= latest
    _check(times, paths)
    if not early.any():
        raise ValueError(f"the tangent defect needs a time of at most {latest}; the earliest is {times.min().item():g}")
    states = paths[early].flatten(0, 1)
    s = times[early].to(states).repeat_interleave(paths.shape[1])
    gaps = [
        flow_map.average_velocity(now, now, x) - velocity(now, x)
        for now, x in zip(s.split(_rows(paths)), states.split(_rows(paths)), strict=True)
    ]
    return _root_mean_square(gaps, "tangent defect")


@torch.no_grad()
def semigroup_map(
    flow_map: TwoTimedMap, times: Tensor, paths: Tensor, cells: int = 8
) -> Iterator[tuple[float, float, float]]:
    """The semigroup defect over a coarse grid of times: (s, t, root mean square over the states), r half way.

    Args:
        flow_map: the map; put it into evaluation mode first.
        times: increasing times in [0, 1], shape ``(M,)``, M >= 3.
        paths: the teacher's trajectories at these times, shape ``(M, P, *shape)``.
        cells: number of cells along each side; fewer where the grid of ``times`` is coarser.

    Raises:
        ValueError: if ``times`` and ``paths`` do not fit, or a value is not finite.
    """
    _check(times, paths, least=3)
    for i, j in combinations(_coarse(times, cells), 2):
        x = paths[i]
        s, t = (times[k].to(x).expand(len(x)) for k in (i, j))
        r = (s + t) / 2
        gap = flow_map(r, t, flow_map(s, r, x)) - flow_map(s, t, x)
        yield times[i].item(), times[j].item(), _root_mean_square([gap], "semigroup defect")


@torch.no_grad()
def tangent_map(
    flow_map: TwoTimedMap, velocity: Field, times: Tensor, paths: Tensor, cells: int = 8, latest: float = 0.98
) -> Iterator[tuple[float, float, float]]:
    r"""The tangent defect over a coarse grid of times s <= t: (s, t, root mean square over the states).

    The map's curve is :math:`t \mapsto \phi_{s,x}(t)`, and its tangent there should be the teacher's velocity:
    :math:`|\partial_t \phi_{s,x_s}(t) - v_t(\phi_{s,x_s}(t))|`, the residual of the Lagrangian equation (Boffi et al.,
    arXiv 2406.07507). For t = s it is what :func:`tangent_defect` measures.

    Args:
        flow_map: the map; put it into evaluation mode first.
        velocity: the teacher's velocity field.
        times: increasing times in [0, 1], shape ``(M,)``.
        paths: the teacher's trajectories at these times, shape ``(M, P, *shape)``.
        cells: number of cells along each side; fewer where the grid of ``times`` is coarser.
        latest: the latest time t; later ones of the grid become this one, for the reason that ``tangent_defect`` gives.

    Raises:
        ValueError: if ``times`` and ``paths`` do not fit, or a value is not finite.
    """
    _check(times, paths)
    coarse = _coarse(times, cells)
    ends = sorted({min(times[k].item(), latest) for k in coarse})
    for i in coarse:
        x = paths[i]
        for end in ends:
            if end < times[i]:
                continue
            s, t = (x.new_full((len(x),), time) for time in (times[i].item(), end))
            if end == times[i]:
                gap = flow_map.average_velocity(s, s, x) - velocity(s, x)
            else:
                average, change = flow_map.lagrangian(s, t, x)
                duration = expand(t - s, x)
                gap = average + duration * change - velocity(t, x + duration * average)
            yield times[i].item(), end, _root_mean_square([gap], "tangent defect")


def _rows(paths: Tensor) -> int:
    """States per pass: a multiple of all P, whose labels may be bound outside."""
    return paths.shape[1] * max(1, min(ROUNDS, VALUES // paths[0].numel()))


def _coarse(times: Tensor, cells: int) -> list[int]:
    """Indices of about ``cells + 1`` of the times, the ends included."""
    return sorted(set(np.linspace(0, len(times) - 1, min(cells, len(times) - 1) + 1).round().astype(int).tolist()))


def _check(times: Tensor, paths: Tensor, least: int = 1) -> None:
    if times.ndim != 1 or paths.ndim < 3 or len(times) != len(paths) or not paths.numel():
        raise ValueError(
            f"times (M,) and paths (M, P, *shape) are needed, not {tuple(times.shape)} and {tuple(paths.shape)}"
        )
    if len(times) < least:
        raise ValueError(f"at least {least} times are needed, not {len(times)}")


def _root_mean_square(gaps: list[Tensor], what: str) -> float:
    value = torch.cat(gaps).flatten(1).double().square().sum(1).mean().sqrt().item()
    if not math.isfinite(value):
        raise ValueError(f"the {what} is not finite: the flow map or the velocity returns values that are not finite")
    return value
