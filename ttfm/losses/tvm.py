"""Terminal velocity matching."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import conditional_velocity, expand
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, register, squared_norm
from ttfm.options import Decay


@register
@dataclass(frozen=True)
class TVM(Loss):
    r"""Terminal velocity matching (Zhou et al., arXiv 2511.19797), without guidance.

    .. math:: E \| \partial_t \phi_{s,x_s}(t) - u^-(t,t,\mathrm{sg}[\phi_{s,x_s}(t)]) \|^2 +
              E \| u_\theta(t,t,x_t) - (x_1 - x_0) \|^2

    The Lagrangian identity with the EMA's diagonal as the velocity, and flow matching at times of its own. The source's
    changes to the network and its sampling of times are left out.

    Source's symbols: noise at t = 1; its jump from t to s is ours from 1-t to 1-s, and its F is -u.

    Cost: JB and F for the first term, F+B for the second.

    What goes wrong: gradients through the derivative are noisy (the source lowers Adam's second decay), and until the
    EMA's diagonal is right so is the target.

    Attributes:
        mu: EMA decay of the network whose diagonal is the target (source's code: 0.99).
    """

    mu: Decay = 0.99

    name = "tvm"
    title = "TVM"
    family = "Lagrangian"
    source = "arXiv 2511.19797; the times are ttfm's"
    learns = "any_to_any"
    needs_teacher = False
    conditional = True
    exact_terms = ("terminal",)

    @property
    def uses_jvp(self) -> bool:
        """True: the network's derivative is in the loss."""
        return True

    @property
    def trains_through_jvp(self) -> bool:
        """True: it is the student's side of the regression."""
        return True

    @property
    def target_decay(self) -> float | None:
        """The option ``mu``."""
        return self.mu

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """Terms ``terminal`` and ``velocity``."""
        assert target is not None
        s, t, x = batch.s, batch.t, batch.at(batch.s)
        gap = expand(t - s, x)
        u, dudt = student.lagrangian(s, t, x)
        with torch.no_grad():
            goal = target.velocity(t, x + gap * u)
        time = batch.single_time()
        velocity = student.velocity(time, batch.at(time))
        return {
            "terminal": squared_norm(u + gap * dudt - goal),
            "velocity": squared_norm(velocity - conditional_velocity(batch.x0, batch.x1)),
        }
