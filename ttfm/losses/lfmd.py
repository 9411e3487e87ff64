"""Lagrangian flow map distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm


@register
@dataclass(frozen=True)
class LFMD(Loss):
    r"""Lagrangian flow map distillation (Boffi et al., arXiv 2406.07507; arXiv 2505.18825, eq. 26-27).

    .. math:: E \| \partial_t \phi_{s,x_s}(t) - v_t(\phi_{s,x_s}(t)) \|^2, \quad
              \partial_t \phi = u + (t-s) \partial_t u

    The derivative is taken at (s, t, x_s), by forward mode with the gradient flowing through it.

    Attributes:
        gradient: "stop" keeps the gradient out of the teacher's argument (:math:`v_t(\mathrm{sg}\,\phi)`) and needs no
            backward pass through the teacher; "full" lets it through, as the loss is written in the source.
    """

    gradient: Literal["stop", "full"] = "stop"

    name = "lfmd"
    title = "LFMD"
    family = "Lagrangian"
    source = "arXiv 2406.07507; arXiv 2505.18825, eq. 26-27"
    learns = "any_to_any"
    needs_teacher = True
    variants = (Variant(), Variant({"gradient": "full"}))

    @property
    def uses_jvp(self) -> bool:
        """True: the network's derivative is in the loss."""
        return True

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``lagrangian``."""
        assert teacher is not None
        x = batch.at(batch.s)
        gap = expand(batch.t - batch.s, x)
        u, dudt = student.lagrangian(batch.s, batch.t, x)
        end = x + gap * u
        velocity = teacher(batch.t, end) if self.gradient == "full" else teacher(batch.t, end.detach()).detach()
        return {"lagrangian": squared_norm(u + gap * dudt - velocity)}
