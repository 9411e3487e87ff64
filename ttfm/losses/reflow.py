"""Rectified flow on the teacher's pairs, and its k-step distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import conditional_velocity
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Count


@register
@dataclass(frozen=True)
class Reflow(Loss):
    r"""Reflow: flow matching on the teacher's pairs (Liu et al., arXiv 2209.03003, eq. 1 and algorithm 1).

    .. math:: E \| u_\theta(s, s, x_s) - (x_1 - x_0) \|^2, \quad x_s = (1-s) x_0 + s x_1, \quad x_1 = \phi_{0,x_0}(1)

    The pairs are solved once and stored. The minimiser is the velocity of *another* flow between the same
    laws, with straighter paths; it is the teacher's at no time between 0 and 1 unless the teacher's paths are straight,
    and agrees with its map from 0 to 1 only in so far as the pairs' lines do not cross. The time is uniform.

    Cost per step: F + B; the pairs are paid once.
    """

    name = "reflow"
    title = "Reflow"
    family = "velocity"
    source = "arXiv 2209.03003"
    learns = "velocity"
    needs_teacher = False
    starts_from_teacher = True
    offline = "pairs"
    # The teacher's map is no fixed point: what the curvature of its paths leaves.
    variants: ClassVar[tuple[Variant, ...]] = (Variant(residual=1.0, mixture=10.0),)

    def _time(self, batch: Batch) -> Tensor:
        return batch.single_time()

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``velocity``."""
        time = self._time(batch)
        prediction = student.velocity(time, batch.at(time))
        return {"velocity": squared_norm(prediction - conditional_velocity(batch.x0, batch.x1))}


@register
@dataclass(frozen=True)
class ReflowDistillation(Reflow):
    r"""k-step distillation of a flow on its pairs (Liu et al., arXiv 2209.03003, and the authors' code).

    .. math:: E \| u_\theta(s, s, x_s) - (x_1 - x_0) \|^2, \quad s \in \{0, 1/k, \dots, (k-1)/k\}

    ``reflow`` at the times alone at which k Euler steps ask for a velocity. At s = 0 this is direct distillation of the
    map, x_0 + u(0, 0, x_0) -> x_1, as the pair determines x_1. Sampling is Euler's with any number of steps that
    divides k; other numbers ask for times that were never trained, hence the default of 8 for 1, 2, 4 and 8 steps. The
    source distils with k = 1 mostly, and there with LPIPS.

    Cost per step: F + B; the pairs are paid once.

    Attributes:
        k: number of Euler steps.
    """

    k: Count = 8

    name = "reflow_distill"
    title = "Reflow distillation"
    variants = (Variant(residual=1.0, mixture=10.0), Variant({"k": 1}, residual=1.0, mixture=10.0))

    def unserved(self, steps: int) -> str:
        """Other times than the k that are trained are asked for by numbers of steps that do not divide k."""
        if self.k % steps == 0:
            return ""
        return f"options.k: {self.k} times are trained and {steps} steps ask for others; give a multiple of {steps}"

    def _time(self, batch: Batch) -> Tensor:
        return (batch.uniform() * self.k).floor().clamp(max=self.k - 1) / self.k
