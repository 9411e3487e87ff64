"""Lagrangian flow map distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.labels import rows
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, initial_error, register, squared_norm
from ttfm.options import NonNegative, Range


@register
@dataclass(frozen=True)
class LFMD(Loss):
    r"""Lagrangian flow map distillation (Boffi et al., arXiv 2406.07507; arXiv 2505.18825, eq. 26-27).

    .. math:: E \| \partial_t \phi_{s,x_s}(t) - v_t(\phi_{s,x_s}(t)) \|^2, \quad
              \partial_t \phi = u + (t-s) \partial_t u

    The derivative is taken at (s, t, x_s), by forward mode with the gradient flowing through it.

    Source's symbols: :math:`X_{s,t}` and :math:`b_t` are :math:`\phi_{s,\cdot}(t)` and v_t here; times are the same.

    Cost: JB and V; with the full gradient the teacher's backward pass too.

    What goes wrong: the teacher is asked where the student has arrived, which early in training is not where the
    teacher was trained; at the data end its velocity is stiff; and memory is that of a backward pass through a
    derivative.

    Attributes:
        gradient: "stop", ttfm's default, keeps the gradient out of the teacher's argument
            (:math:`v_t(\mathrm{sg}\,\phi)`) and needs no backward pass through the teacher; "full" lets it through, as
            the loss is written in the source.
        lambda_I: weight of ITVM's initial term :math:`\|u(s,s,x_s) - v_s(x_s)\|^2` beside it; 0, the source's loss,
            leaves it out. It is here to take ITVM apart.
        initial_fraction: fraction of the batch on which the initial term is estimated.
    """

    gradient: Literal["stop", "full"] = "stop"
    lambda_I: NonNegative = 0.0
    initial_fraction: Annotated[float, Range(0, 1, open_="low")] = 0.5

    name = "lfmd"
    title = "LFMD"
    family = "Lagrangian"
    source = "arXiv 2406.07507; arXiv 2505.18825, eq. 26-27"
    learns = "any_to_any"
    needs_teacher = True
    variants = (Variant({"gradient": "stop"}), Variant({"gradient": "full", "lambda_I": 1.0}))

    @property
    def weights(self) -> dict[str, float]:
        """The initial term's weight is the option ``lambda_I``."""
        return {"initial": self.lambda_I}

    @property
    def uses_jvp(self) -> bool:
        """True: the network's derivative is in the loss."""
        return True

    @property
    def trains_through_jvp(self) -> bool:
        """True: it is the student's side of the regression."""
        return True

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """Terms ``lagrangian`` and, unless ``lambda_I`` is 0, ``initial``."""
        assert teacher is not None
        x = batch.at(batch.s)
        gap = expand(batch.t - batch.s, x)
        u, dudt = student.lagrangian(batch.s, batch.t, x)
        end = x + gap * u
        velocity = teacher(batch.t, end) if self.gradient == "full" else teacher(batch.t, end.detach()).detach()
        terms = {"lagrangian": squared_norm(u + gap * dudt - velocity)}
        if self.lambda_I > 0:
            count = max(1, round(self.initial_fraction * len(x)))
            with rows(slice(count)):
                velocity = teacher(batch.s[:count], x[:count]).detach()
                terms["initial"] = initial_error(student.velocity(batch.s[:count], x[:count]), velocity, len(x))
        return terms
