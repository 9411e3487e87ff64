"""Lagrangian self-distillation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.labels import rows
from ttfm.losses.base import Batch, register
from ttfm.losses.self_distillation import SelfDistillation


@register
@dataclass(frozen=True)
class LSD(SelfDistillation):
    r"""Lagrangian self-distillation (Boffi et al., arXiv 2505.18825, eq. 13, with the stop-gradients of eq. 94).

    .. math:: E \| u_\theta(t,t,x_t) - (x_1 - x_0) \|^2 +
              E \| \partial_t \phi_{s,x_s}(t) - \mathrm{sg}[u(t,t,\phi_{s,x_s}(t))] \|^2

    LFMD with the student's own diagonal in place of the teacher. The source also learns a weight of each (s, t), left
    out here, and finds it the most accurate and the most stable of its three.

    Source's symbols: its :math:`X_{s,t}` and v are :math:`\phi_{s,\cdot}(t)` and u here; times are the same.

    Cost: F+B on the diagonal's part of the batch, and on the rest JB and F.

    What goes wrong: the derivative makes the gradients noisier than those of the semigroup form; until the diagonal is
    learned the target is wrong.

    Attributes:
        diagonal: fraction of the batch on the diagonal (source: 0.75).
        mu: EMA decay of the network whose diagonal is the target (source: 0, a stop-gradient copy; it reports that an
            average did not help and sometimes made the training unstable).
    """

    name = "lsd"
    title = "LSD"
    family = "Lagrangian"
    source = "arXiv 2505.18825, eq. 13 and 94, without its learned weight"
    exact_terms = ("lagrangian",)

    @property
    def uses_jvp(self) -> bool:
        """True: the network's derivative is in the loss."""
        return True

    @property
    def trains_through_jvp(self) -> bool:
        """True: it is the student's side of the regression."""
        return True

    def _evaluate(
        self, time: Tensor, state: Tensor, off: Batch, student: FlowMap, target: FlowMap
    ) -> tuple[Tensor, Tensor]:
        with rows(slice(len(time))):
            prediction = student.velocity(time, state)
        x = off.at(off.s)
        gap = expand(off.t - off.s, x)
        with rows(slice(len(time), None)):
            u, dudt = student.lagrangian(off.s, off.t, x)
            with torch.no_grad():
                goal = target.velocity(off.t, x + gap * u)
        return prediction, u + gap * dudt - goal
