"""What self-distillation losses share: flow matching on the diagonal for one part of the batch, a map identity for the
rest of it.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import conditional_velocity, expand
from ttfm.flow.labels import rows
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, squared_norm
from ttfm.options import Decay, Range


@dataclass(frozen=True)
class SelfDistillation(Loss):
    r"""Base of losses that learn a velocity on the diagonal and, off it, the map of their own velocity.

    .. math:: E_{t \sim U[0,1]} \| u_\theta(t,t,x_t) - (x_1 - x_0) \|^2
              + E_{s \le t} \| \text{residual of an identity of the flow map at } (s, t, x_s) \|^2

    The first samples of the batch serve the diagonal, the others the identity. Both terms are scaled so that their
    means over the batch are the two expectations, as in algorithm 1 of arXiv 2505.18825.

    Attributes:
        diagonal: fraction of the batch on the diagonal.
        mu: EMA decay of the network that targets are computed with; 0 is a stop-gradient copy.
    """

    diagonal: Annotated[float, Range(0, 1, open_="both")] = 0.75
    mu: Decay = 0.0

    learns = "any_to_any"
    needs_teacher = False
    conditional = True

    @property
    def target_decay(self) -> float | None:
        """The option ``mu``."""
        return self.mu

    @abc.abstractmethod
    def _evaluate(
        self, time: Tensor, state: Tensor, off: Batch, student: FlowMap, target: FlowMap
    ) -> tuple[Tensor, Tensor]:
        """The student's velocity at the diagonal's ``(time, state)``, and its residual on the batch ``off``.

        The labels bound are those of both, the diagonal's first.
        """

    def _velocity(self, on: Batch, time: Tensor, state: Tensor, teacher: Field | None) -> Tensor:
        """What the diagonal is regressed on."""
        return conditional_velocity(on.x0, on.x1)

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """Terms ``diagonal`` and the name of the family, in lower case."""
        assert target is not None
        size = len(batch.x0)
        count = max(1, min(size - 1, round(self.diagonal * size)))
        on, off = batch.part(slice(None, count)), batch.part(slice(count, None))
        time = on.single_time()
        state = on.at(time)
        with torch.no_grad(), rows(slice(count)):
            velocity = self._velocity(on, time, state, teacher)
        prediction, residual = self._evaluate(time, state, off, student, target)
        return {
            "diagonal": _spread(squared_norm(prediction - velocity), 0, size),
            self.family.lower(): _spread(squared_norm(residual), count, size),
        }


@dataclass(frozen=True)
class SemigroupDistillation(SelfDistillation):
    """Base of those whose identity is two jumps of the target in place of one; the cost is 2F for the jumps and F+B."""

    family = "semigroup"
    exact_terms = ("semigroup",)

    @abc.abstractmethod
    def _jump(self, off: Batch, target: FlowMap) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Start times, end times, states, and the average velocity between them; called without gradients."""

    def _evaluate(
        self, time: Tensor, state: Tensor, off: Batch, student: FlowMap, target: FlowMap
    ) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), rows(slice(len(time), None)):
            s, t, x, goal = self._jump(off, target)
        # Both parts of the batch go through the network at once.
        joined = torch.cat([time, s]), torch.cat([time, t]), torch.cat([state, x])
        prediction, average = student.average_velocity(*joined).split([len(time), len(s)])
        return prediction, average - goal


def semigroup_average(model: FlowMap, s: Tensor, t: Tensor, x: Tensor, fraction: Tensor) -> Tensor:
    r"""The average velocity of two jumps of ``model``, :math:`f u(s,r,x) + (1-f) u(r,t,\phi_{s,x}(r))`.

    It equals u(s, t, x) where ``model`` is the map of some flow.

    Args:
        model: the map that jumps.
        s: start times, ``(B,)``.
        t: end times, ``(B,)``.
        x: states at the start times, ``(B, *shape)``.
        fraction: f in [0, 1], the first jump's share of the interval, r = s + f (t - s); ``(B,)``.
    """
    r = torch.lerp(s, t, fraction)
    first = model.average_velocity(s, r, x)
    second = model.average_velocity(r, t, x + expand(r - s, x) * first)
    return torch.lerp(second, first, expand(fraction, x))


def _spread(value: Tensor, start: int, size: int) -> Tensor:
    """Values of the samples from ``start`` on in a batch of ``size``, such that their mean is that of ``value``."""
    spread = value.new_zeros(size)
    spread[start : start + len(value)] = value * (size / max(1, len(value)))
    return spread
