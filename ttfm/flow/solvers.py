"""Fixed-step solvers of dx/dt = v(t, x). Their orders are measured against an analytic solution in the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from ttfm.flow.interpolant import expand

Field = Callable[[Tensor, Tensor], Tensor]
"""A velocity field ``v(t, x)``: times ``(B,)`` and states ``(B, *shape)`` to velocities ``(B, *shape)``."""

Step = Callable[[Field, Tensor, Tensor, Tensor], Tensor]
"""One step ``step(field, t, h, x)``: times ``t`` and sizes ``h`` ``(B,)``, states ``x`` ``(B, *shape)``."""


def euler(field: Field, t: Tensor, h: Tensor, x: Tensor) -> Tensor:
    """Explicit Euler: order 1, one evaluation."""
    return x + expand(h, x) * field(t, x)


def midpoint(field: Field, t: Tensor, h: Tensor, x: Tensor) -> Tensor:
    """Explicit midpoint: order 2, two evaluations, none of them at the end of the step."""
    half = euler(field, t, h / 2, x)
    return x + expand(h, x) * field(t + h / 2, half)


def heun(field: Field, t: Tensor, h: Tensor, x: Tensor) -> Tensor:
    """Heun's trapezoidal rule: order 2, two evaluations."""
    first = field(t, x)
    second = field(t + h, x + expand(h, x) * first)
    return x + expand(h, x) * (first + second) / 2


def rk4(field: Field, t: Tensor, h: Tensor, x: Tensor) -> Tensor:
    """The classical Runge-Kutta method: order 4, four evaluations."""
    width = expand(h, x)
    k1 = field(t, x)
    k2 = field(t + h / 2, x + width / 2 * k1)
    k3 = field(t + h / 2, x + width / 2 * k2)
    k4 = field(t + h, x + width * k3)
    return x + width / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


SOLVERS: dict[str, Step] = {"euler": euler, "midpoint": midpoint, "heun": heun, "rk4": rk4}


def trajectory(
    field: Field, x: Tensor, solver: str, steps: int, start: float = 0.0, end: float = 1.0
) -> Iterator[Tensor]:
    """Yield the ``steps + 1`` states of an equidistant integration from ``start`` to ``end``, the first being ``x``.

    Args:
        field: the velocity field.
        x: states at time ``start``, shape ``(B, *shape)``.
        solver: a key of ``SOLVERS``.
        steps: number of equal steps, at least 1.
        start: first time, in [0, 1].
        end: last time, in [0, 1].

    Raises:
        ValueError: if ``steps`` is less than 1.
    """
    if steps < 1:
        raise ValueError(f"a trajectory needs at least one step, not {steps}")
    yield from trajectory_on(field, x, solver, torch.linspace(start, end, steps + 1, dtype=torch.float64))


def trajectory_on(field: Field, x: Tensor, solver: str, times: Tensor) -> Iterator[Tensor]:
    """Yield the ``M`` states of an integration along the times ``(M,)``, the first being ``x``, ``(B, *shape)``."""
    step = SOLVERS[solver]
    yield x
    for now, then in pairwise(times.tolist()):
        x = step(field, x.new_full((len(x),), now), x.new_full((len(x),), then - now), x)
        yield x


def solve(field: Field, x: Tensor, solver: str, steps: int, start: float = 0.0, end: float = 1.0) -> Tensor:
    """The last state of :func:`trajectory`, shape ``(B, *shape)``."""
    for state in trajectory(field, x, solver, steps, start, end):
        x = state
    return x
