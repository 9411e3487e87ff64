"""SplitMeanFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, register
from ttfm.losses.self_distillation import SemigroupDistillation, semigroup_average
from ttfm.options import Decay, Range


@register
@dataclass(frozen=True)
class SplitMeanFlow(SemigroupDistillation):
    r"""SplitMeanFlow (arXiv 2507.16884): interval splitting off the diagonal, a teacher's velocity on it.

    .. math:: u_\theta(s,t,x_s) \to \mathrm{sg}[f u(s,r,x_s) + (1-f) u(r,t,\phi_{s,x_s}(r))], \quad
              r = s + f(t-s), \; f \sim U(0,1); \qquad u_\theta(t,t,x_t) \to v_t(x_t)

    How the batch is shared between the two parts is ttfm's choice.

    Source's symbols: noise at t = 1; its [r, t], split at s = (1-lambda) t + lambda r, is [1-t, 1-r], lambda is f, u is
    -u.

    Cost: F+B on the whole batch, V on the diagonal's part, 2F on the rest; no derivatives.

    What goes wrong: as in PSD, errors of short jumps add up in long ones.

    Attributes:
        diagonal: fraction of the batch on the diagonal, where the teacher is asked.
        mu: EMA decay of the network that makes the two jumps (source: 0, a stop-gradient copy).
    """

    diagonal: Annotated[float, Range(0, 1, open_="both")] = 0.5
    mu: Decay = 0.0

    name = "splitmeanflow"
    title = "SplitMeanFlow"
    source = "arXiv 2507.16884; the shares of the batch are ttfm's"
    needs_teacher = True
    conditional = False

    def _velocity(self, on: Batch, time: Tensor, state: Tensor, teacher: Field | None) -> Tensor:
        assert teacher is not None
        return teacher(time, state)

    def _jump(self, off: Batch, target: FlowMap) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        s, t, x = off.s, off.t, off.at(off.s)
        return s, t, x, semigroup_average(target, s, t, x, off.uniform())
