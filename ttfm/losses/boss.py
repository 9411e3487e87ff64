"""Straightening on the jumps of a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.schedules import optimal_schedule
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Count


@register
@dataclass(frozen=True)
class Straightening(Loss):
    r"""Straightening of BOSS, Bellman optimal stepsize straightening (Nguyen et al., arXiv 2312.16414, section 4).

    .. math:: E \| u_\theta(\tau_k, \tau_k, x_{\tau_k}) - (x_{\tau_{k+1}} - x_{\tau_k}) / (\tau_{k+1} - \tau_k) \|^2,
              \quad k \sim U\{0, \dots, K-1\}

    on stored trajectories of the teacher and a schedule :math:`0 = \tau_0 < \dots < \tau_K = 1` of stored times: K
    Euler steps along the schedule then end where the trajectory does. The source finds the schedule once, by
    :func:`ttfm.flow.schedules.optimal_schedule` over 100 Euler steps of the teacher, and steps along it.

    ``schedule`` "optimal" computes it anew from each batch's own trajectories, which compares all pairs of the M stored
    states and asks no network (36 ms on one core for 33 states of 256 samples of 64 components); it is the source's
    schedule up to the noise of the batch. ttfm samples velocities by *equidistant* Euler steps, which ask for other
    times than those; "equidistant" is therefore the default and, with it, the student is the source's straightening
    without its choice of steps. It serves K steps; other numbers of steps meet velocities that were trained for jumps
    of length 1/K, or not at all.

    Cost per step: F + B; the trajectories are paid once.

    Attributes:
        steps: number K of jumps, at most the number of stored intervals (source: 6, among others).
        schedule: "equidistant", rounded to stored times, or "optimal".
    """

    steps: Count = 4
    schedule: Literal["equidistant", "optimal"] = "equidistant"

    name = "boss"
    title = "Straightening (BOSS)"
    family = "trajectories"
    source = "arXiv 2312.16414; straightening alone, on equidistant jumps unless the option says otherwise"
    learns = "velocity"
    needs_teacher = False
    starts_from_teacher = True
    offline = True
    # A velocity is not the average velocity of a jump: what the curvature of the teacher's paths leaves.
    variants = (
        Variant(residual=1.0, mixture=10.0),
        Variant({"schedule": "optimal"}, residual=1.0, mixture=10.0),
        Variant({"steps": 1}, residual=1.0, mixture=10.0),
    )

    def jumps(self, times: Tensor, path: Tensor) -> Tensor:
        """Indices of the schedule's times among the stored ones, ``(steps + 1,)``.

        Raises:
            ValueError: if fewer intervals are stored than there are to be jumps.
        """
        last = len(times) - 1
        if self.steps > last:
            raise ValueError(f"steps: {self.steps} jumps need as many stored intervals, and there are {last}")
        if self.schedule == "optimal":
            return torch.searchsorted(times, optimal_schedule(times, path, self.steps))
        wanted = torch.arange(self.steps + 1, device=times.device, dtype=times.dtype) / self.steps
        return (times - wanted[:, None]).abs().argmin(dim=1)

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``secant``."""
        assert batch.times is not None and batch.path is not None
        jumps = self.jumps(batch.times, batch.path)
        k = (batch.uniform() * self.steps).long().clamp(max=self.steps - 1)
        i, j, each = jumps[k], jumps[k + 1], torch.arange(len(k), device=k.device)
        s, t, x, y = batch.times[i], batch.times[j], batch.path[i, each], batch.path[j, each]
        return {"secant": squared_norm(student.velocity(s, x) - (y - x) / expand(t - s, x))}
