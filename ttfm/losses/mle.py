"""Maximum-likelihood fine-tuning of a velocity by reconstruction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.solvers import Field, solve
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Count


@register
@dataclass(frozen=True)
class Reconstruction(Loss):
    r"""Fine-tuning of a flow by maximum likelihood of reconstructions (Li et al., arXiv 2510.02081).

    .. math:: E \| \Psi_K(z(x_1)) - x_1 \|^2, \quad \dot x = u_\theta(t,t,x)

    Data x_1 is carried back to its noise z by the fine ODE of the velocity as it was before, frozen, and forth again by
    :math:`\Psi_K`, the K Euler steps that the sampler will take, with the gradient through all of them: under a
    Gaussian observation model the squared error is the negative log-likelihood. This closes the gap between training,
    which never integrates, and sampling. It starts from a trained velocity. How z is found and the solvers are ttfm's
    choice (a reconstruction of the method: its abstract and theory were at hand, not its code); without the source's
    residual, contracting architecture.

    Source's symbols: its velocity :math:`v_t(x; \theta)` is :math:`u_\theta(t,t,x)`; z and :math:`\Psi_K` are ttfm's.

    Cost: 4 ``fine`` F without gradient (RK4) and K (F+B).

    What goes wrong: were z found by the velocity under training, both could drift together, reconstructing perfectly
    from noise that is not normal (seen in a test: the endpoint error grew from 0.3 to 22); freezing it is the remedy.
    What is learned suits K Euler steps and no other number.

    Attributes:
        steps: K, the Euler steps through which the gradient flows.
        fine: RK4 steps from data back to noise.
    """

    steps: Count = 4
    fine: Count = 8

    name = "mle"
    title = "Reconstruction fine-tuning"
    family = "velocity"
    source = "arXiv 2510.02081 (reconstruction)"
    learns = "velocity"
    needs_teacher = False
    starts_from_teacher = True
    # The K Euler steps miss the data by their own error, which the fine-tuning is there to remove.
    variants = (Variant({"steps": 64, "fine": 32}, residual=3e-4, mixture=3e-2),)

    @property
    def stages(self) -> int:
        """1: the velocity before fine-tuning, never renewed, carries data back to noise."""
        return 1

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``reconstruction``."""
        assert target is not None
        with torch.no_grad():
            noise = solve(target.velocity, batch.x1, "rk4", self.fine, start=1.0, end=0.0)
        return {"reconstruction": squared_norm(solve(student.velocity, noise, "euler", self.steps) - batch.x1)}
