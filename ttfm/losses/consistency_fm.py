"""Consistency flow matching."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Count, Decay, Fraction, NonNegative, Positive


@register
@dataclass(frozen=True)
class ConsistencyFlowMatching(Loss):
    r"""Consistency flow matching, velocity consistency (Yang et al., arXiv 2407.02398, and the authors' code).

    On K equal segments of [0, 1], e the end of the segment that holds t, :math:`t' = \min(t + \delta, e)`, and states
    of one interpolant,

    .. math:: \| f_\theta(t, x_t) - \mathrm{sg}\,f^-(t', x_{t'}) \|^2
              + \alpha \| v_\theta(t, x_t) - \mathrm{sg}\,v^-(t', x_{t'}) \|^2, \quad
              f(t, x) = x + (e - t) v(t, x),

    the second term only where t' < e. At t' = e, and from t' = ``boundary`` on, f^- is x_e itself. As in the source the
    velocity has one time, :math:`v_\theta(t, x) = u_\theta(t, t, x)`, and is stepped by Euler: what is learned is a
    *straight* flow to each segment's end, whose velocity is the average velocity of the original flow up to there, not
    its velocity.

    Source's symbols: the same, v being u(t, t, x).

    Cost: 2F+B.

    What goes wrong: the exact map of the original flow is no fixed point; fewer steps than segments extrapolate the
    first segment; as with ``ct`` a small delta learns slowly, from the segments' ends backwards.

    Attributes:
        segments: number K of segments (source: 2); 1 is the single-segment form.
        delta: distance of the two times (source: 1e-3).
        alpha: weight of the velocities' distance (source: 1e-5, beside a term of the order of delta^2).
        boundary: time from which the target is the segment's end (source: 0.9 on CIFAR-10); 1 for none.
        mu: EMA decay of the target network (the authors' code: 0, a stop-gradient copy).
    """

    segments: Count = 2
    delta: Positive = 1e-3
    alpha: NonNegative = 1e-5
    boundary: Fraction = 0.9
    mu: Decay = 0.0

    name = "consistency_fm"
    title = "Consistency-FM"
    family = "consistency"
    source = "arXiv 2407.02398 and the authors' code"
    learns = "velocity"
    needs_teacher = False
    # Not marked as conditional although its targets are single-sample estimates: the exact map is not stationary, and
    # what is bounded is how little a smooth velocity leaves over delta and beyond the boundary.
    variants = (
        Variant(residual=0.02, mixture=0.02),
        Variant({"segments": 1, "boundary": 1.0}, residual=1e-4, mixture=1e-3),
        Variant({"segments": 4, "alpha": 0.1, "delta": 0.01, "mu": 0.5}, residual=0.05, mixture=0.1),
    )

    @property
    def target_decay(self) -> float | None:
        """The option ``mu``."""
        return self.mu

    @property
    def weights(self) -> dict[str, float]:
        """The velocities' distance has weight ``alpha``."""
        return {"velocity": self.alpha}

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """Terms ``endpoint`` and ``velocity``."""
        assert target is not None
        t = batch.single_time()
        end = ((t * self.segments).floor() + 1).clamp(max=self.segments) / self.segments
        later = torch.minimum(t + self.delta, end)
        x, x_later = batch.at(t), batch.at(later)
        with torch.no_grad():
            there = target.velocity(later, x_later)
            goal = x_later + expand(end - later, x) * there
            reached = (later >= end) | (later >= self.boundary)
            goal = torch.where(expand(reached, x), batch.at(end), goal)
        here = student.velocity(t, x)
        return {
            "endpoint": squared_norm(x + expand(end - t, x) * here - goal),
            # As in the authors' code, velocities agree only before the boundary.
            "velocity": squared_norm(here - there) * ((later < end) & (t < self.boundary)),
        }
