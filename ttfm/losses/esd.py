"""Eulerian self-distillation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.labels import rows
from ttfm.losses.base import Batch, Variant, register
from ttfm.losses.emd import Gradient, eulerian_residual
from ttfm.losses.self_distillation import SelfDistillation


@register
@dataclass(frozen=True)
class ESD(SelfDistillation):
    r"""Eulerian self-distillation (Boffi et al., arXiv 2505.18825, eq. 14, with the stop-gradients of eq. 94).

    .. math:: E \| u_\theta(t,t,x_t) - (x_1 - x_0) \|^2 +
              E \| \partial_s \phi_{s,x_s}(t) + \nabla_x \phi_{s,x_s}(t) \, \mathrm{sg}[u(s,s,x_s)] \|^2

    EMD with the student's own diagonal in place of the teacher. The source also learns a weight of each (s, t), left
    out here.

    Source's symbols: its :math:`X_{s,t}` and v are :math:`\phi_{s,\cdot}(t)` and u here; times are the same.

    Cost: F+B on the diagonal's part of the batch, and on the rest F and J+JB ("time"), JB ("full") or J+F+B
    ("semigradient").

    What goes wrong: the source could not train it on images, as gradients through the derivatives grow until the
    training diverges; until the diagonal is learned, the velocity in the identity is wrong.

    Attributes:
        diagonal: fraction of the batch on the diagonal (source: 0.75).
        mu: EMA decay of the network whose diagonal is the velocity (source: 0, a stop-gradient copy).
        gradient: as in ``emd``; the source recommends "time".
    """

    gradient: Gradient = "time"

    name = "esd"
    title = "ESD"
    family = "Eulerian"
    source = "arXiv 2505.18825, eq. 14 and 94, without its learned weight"
    exact_terms = ("eulerian",)
    variants = tuple(Variant({"gradient": gradient}) for gradient in ("time", "full", "semigradient"))

    @property
    def uses_jvp(self) -> bool:
        """True: the network's derivative is in the loss."""
        return True

    @property
    def trains_through_jvp(self) -> bool:
        """Whether any gradient flows through it: not through the semigradient form."""
        return self.gradient != "semigradient"

    def _evaluate(
        self, time: Tensor, state: Tensor, off: Batch, student: FlowMap, target: FlowMap
    ) -> tuple[Tensor, Tensor]:
        x = off.at(off.s)
        with rows(slice(len(time), None)):
            with torch.no_grad():
                velocity = target.velocity(off.s, x)
            residual = eulerian_residual(student, off.s, off.t, x, velocity, self.gradient)
        with rows(slice(len(time))):
            return student.velocity(time, state), residual
