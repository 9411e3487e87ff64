"""Rectified flow on the teacher's pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import conditional_velocity
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm


@register
@dataclass(frozen=True)
class Reflow(Loss):
    r"""Reflow: flow matching on the teacher's pairs (Liu et al., arXiv 2209.03003, eq. 1 and algorithm 1).

    .. math:: E \| u_\theta(s, s, x_s) - (x_1 - x_0) \|^2, \quad x_s = (1-s) x_0 + s x_1, \quad x_1 = \phi_{0,x_0}(1)

    The pairs are solved once and stored. The minimiser is the velocity of *another* flow between the same laws, with
    straighter paths; it is the teacher's at no time between 0 and 1 unless the teacher's paths are straight, and agrees
    with its map from 0 to 1 only in so far as the pairs' lines do not cross. The time is uniform.

    Source's symbols: its pairs (Z_0, Z_1) are (x_0, x_1), its v(x, t) is u(t, t, x); times are the same.

    Cost: F+B; the pairs are paid once.

    What goes wrong: few pairs are overfitted; each further round straightens less and adds its own error to the law of
    the samples; the error of the teacher's solution is learned as well.
    """

    name = "reflow"
    title = "Reflow"
    family = "velocity"
    source = "arXiv 2209.03003"
    learns = "velocity"
    needs_teacher = False
    starts_from_teacher = True
    offline = "pairs"
    # The teacher's map is no fixed point. With its velocity v_t(x) = rho_t x of the linear flow to N(0, c^2 I) it
    # leaves 2 E[(rho_s (1-s+sc) + 1-c)^2] = 0.342, of the mixture, where a velocity of zero leaves less, 0.75: bounds
    # are 1.2 times as high.
    variants: ClassVar[tuple[Variant, ...]] = (Variant(residual=0.41, mixture=0.9),)

    def _time(self, batch: Batch) -> Tensor:
        return batch.single_time()

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``velocity``."""
        time = self._time(batch)
        prediction = student.velocity(time, batch.at(time))
        return {"velocity": squared_norm(prediction - conditional_velocity(batch.x0, batch.x1))}
