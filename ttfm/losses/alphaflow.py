"""Alpha-flow: from flow matching along the trajectory to MeanFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import conditional_velocity, expand
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Fraction, NonNegative, Positive, Range


@register
@dataclass(frozen=True)
class AlphaFlow(Loss):
    r"""Alpha-flow (Zhang et al., arXiv 2510.20771).

    .. math:: \alpha^{-1} \| u_\theta(s,t,x_s) - \mathrm{sg}[\alpha v + (1-\alpha) u(s', t, x_s + (s'-s) v)] \|^2,
              \quad s' = s + \alpha (t-s), \; v = x_1 - x_0

    times an adaptive weight. With alpha = 1 the average velocity is regressed on v itself, alpha = 1/2 resembles
    shortcut models, and as alpha tends to 0 the gradient becomes MeanFlow's, whose target then takes its place.

    The weight of a sample is :math:`\alpha^{2p-1} / (\|\Delta\|^2 + \epsilon)^p`: for p = 0 the factor of the equation,
    for p = 1 that of the source's published code, :math:`\alpha / (\|\Delta\|^2 + \epsilon)`. On s = t and at alpha = 0
    it is MeanFlow's. :math:`\|\Delta\|^2` is the sum over the components here, their mean in that code; times are
    uniform, as for all losses here.

    Source's symbols: noise at t = 1; its t, r and intermediate s are 1-s, 1-t and 1-s', its u and v are -u and -v.

    Cost: F+B while alpha = 1, 2F+B between, J+F+B at alpha = 0.

    What goes wrong: for alpha > 0 the minimiser is not the flow's map, so that short trainings must leave enough time
    at the end; the adaptive weight biases as in ``meanflow``, and the weighted term does not show progress.

    Attributes:
        schedule: how alpha falls from 1 to 0: "sigmoid" as in the source, "linear", or "constant" at ``alpha``.
        start: fraction of the training at which alpha begins to fall (source: 0 in one setting, 1/2 in another).
        end: fraction of the training at which alpha has fallen (source: 1 and 5/6); greater than ``start``.
        steepness: of the sigmoid over the interval from start to end (source: 25).
        clamp: alpha closer than this to 0 or 1 is set to it (source: 0.005).
        alpha: the value for the schedule "constant".
        diagonal: fraction of the batch on s = t, where the loss is flow matching (source: 0.25 to 0.5).
        power: p of the adaptive weight (source: 1).
        epsilon: epsilon of the adaptive weight (MeanFlow's 1e-3).
    """

    schedule: Literal["sigmoid", "linear", "constant"] = "sigmoid"
    start: Fraction = 0.0
    end: Fraction = 1.0
    steepness: Positive = 25.0
    clamp: Annotated[float, Range(0, 0.5)] = 0.005
    alpha: Fraction = 0.5
    diagonal: Fraction = 0.5
    power: NonNegative = 1.0
    epsilon: Positive = 1e-3

    name = "alphaflow"
    title = "Alpha-flow"
    family = "Eulerian"
    source = "arXiv 2510.20771 and its published code"
    learns = "any_to_any"
    needs_teacher = False
    conditional = True
    variants = (
        Variant({"power": 0.0}, progress=0.9),
        Variant({"power": 0.0, "schedule": "linear"}, progress=0.999),
        Variant({"power": 0.0, "schedule": "constant", "alpha": 0.01}),
        # As of MeanFlow: the adaptive weight biases the mean where data have several modes.
        Variant(mixture=0.15, progress=0.9),
    )

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(f"start: {self.start} must be below end, {self.end}")

    @property
    def uses_jvp(self) -> bool:
        """Whether the network's derivative is in the loss once alpha is 0."""
        return self.schedule != "constant" or self.alpha == 0

    @property
    def target_decay(self) -> float | None:
        """0: the target is a stop-gradient copy of the student."""
        return 0.0

    def alpha_at(self, progress: float) -> float:
        """Alpha at ``progress`` in [0, 1)."""
        if self.schedule == "constant":
            return self.alpha
        passed = min(1.0, max(0.0, (progress - self.start) / (self.end - self.start)))
        if self.schedule == "linear":
            alpha = 1 - passed
        else:
            alpha = 1 / (1 + math.exp(self.steepness * (passed - 0.5))) if 0 < passed < 1 else 1 - passed
        return 0.0 if alpha < self.clamp else 1.0 if alpha > 1 - self.clamp else alpha

    def _goal(self, batch: Batch, t: Tensor, x: Tensor, alpha: float, target: FlowMap) -> Tensor:
        """What u(s, t, x) is regressed on for s < t; called without gradients."""
        velocity = conditional_velocity(batch.x0, batch.x1)
        if alpha == 1:
            return velocity
        gap = expand(t - batch.s, x)
        if alpha == 0:
            _, total = target.eulerian(batch.s, t, x, velocity)
            return velocity + gap * total
        middle = torch.lerp(batch.s, t, alpha)
        return torch.lerp(target.average_velocity(middle, t, x + alpha * gap * velocity), velocity, alpha)

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``eulerian``."""
        assert target is not None
        alpha = self.alpha_at(batch.progress)
        diagonal = batch.uniform() < self.diagonal
        t = torch.where(diagonal, batch.s, batch.t)
        x = batch.at(batch.s)
        with torch.no_grad():
            goal = self._goal(batch, t, x, alpha, target)
            goal = torch.where(expand(diagonal, x), conditional_velocity(batch.x0, batch.x1), goal)
        error = squared_norm(student.average_velocity(batch.s, t, x) - goal)
        scale = torch.where(diagonal, 1.0, alpha ** (2 * self.power - 1) if alpha else 1.0)
        return {"eulerian": scale * error / (error.detach() + self.epsilon) ** self.power}
