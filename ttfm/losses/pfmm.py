"""Progressive flow map matching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.losses.self_distillation import semigroup_average
from ttfm.options import Range


@register
@dataclass(frozen=True)
class PFMM(Loss):
    r"""Progressive flow map matching (Boffi et al., arXiv 2406.07507; arXiv 2505.18825, eq. 30-31).

    .. math:: \phi_\theta(s \to t)(x_s) \to \check\phi(r \to t) \circ \check\phi(s \to r) \text{ at } x_s, \quad
              r = (s+t)/2, \; t - s \le \tau

    where :math:`\check\phi` is the map at the end of the previous stage, frozen, which was trained for half the range.
    The stages are equal parts of the training. In the first, with the smallest tau, the map is one Heun step of the
    teacher; every stage doubles tau, and the last has tau = 1: what 2^doublings Heun steps leave is the least error.
    The residual is that of u, without the factor t - s, as the source does for its self-distilled form. The number and
    the lengths of the stages, the midpoint and the clamped end time min(t, s + tau) are ttfm's choice.

    Source's symbols: :math:`X_{s,t}` and :math:`\check X_{s,t}` are the two maps from s to t; times are the same.

    Cost: 2V+F+B in the first stage, then 2F+F+B.

    What goes wrong: every stage inherits the errors of those before it, and the last alone learns the longest jumps; a
    learning rate that has decayed by then leaves them unlearned, so a constant one suits this loss.

    Attributes:
        doublings: number of stages after the first; the first has tau = 2^-doublings.
    """

    doublings: Annotated[int, Range(0, 20)] = 4

    name = "pfmm"
    title = "PFMM"
    family = "semigroup"
    source = "arXiv 2406.07507; arXiv 2505.18825, eq. 30-31; the stages are ttfm's"
    learns = "any_to_any"
    needs_teacher = True
    variants = (Variant(residual=5e-3, mixture=5e-2), *(Variant(progress=progress) for progress in (0.5, 0.9)))

    @property
    def stages(self) -> int:
        """One more than the option ``doublings``."""
        return self.doublings + 1

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``semigroup``."""
        assert teacher is not None and target is not None
        # The summand keeps rounding from placing a stage's first step into the stage before it.
        stage = int(batch.progress * self.stages + 1e-9)
        s, x = batch.s, batch.at(batch.s)
        t = torch.minimum(batch.t, s + 2.0 ** (stage - self.doublings))
        with torch.no_grad():
            goal = semigroup_average(target, s, t, x, torch.full_like(s, 0.5)) if stage else _heun(teacher, s, t, x)
        return {"semigroup": squared_norm(student.average_velocity(s, t, x) - goal)}


def _heun(teacher: Field, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """The average velocity of one Heun step from s to t, ``(B, *shape)``."""
    first = teacher(s, x)
    return (first + teacher(t, x + expand(t - s, x) * first)) / 2
