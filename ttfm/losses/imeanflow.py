"""Improved MeanFlow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import conditional_velocity, expand
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Fraction, NonNegative, Positive


@register
@dataclass(frozen=True)
class ImprovedMeanFlow(Loss):
    r"""Improved MeanFlow (Geng et al., arXiv 2512.02012), without guidance.

    .. math:: u_\theta(s,t,x_s) - (t-s) \, \mathrm{sg}[\partial_s u + \nabla_x u \, \hat v] \to x_1 - x_0, \quad
              \hat v = u(s,s,x_s)

    weighted per sample by :math:`1 / (\|\Delta\|^2 + \epsilon)^p`. MeanFlow as a regression of a velocity: the target
    no longer depends on the network, and the derivative's tangent is the predicted velocity, so that the left side is a
    function of x_s alone. Of the source's two ways to predict v, an extra output and the diagonal u(s, s, x), ttfm has
    the second, which needs no other network. Times are uniform, as for all losses here; the source draws logit-normal
    ones.

    Source's symbols: noise at t = 1; its t and r are 1-s and 1-t here, its u and v are -u and -v.

    Cost: J and F without gradient, and F+B.

    What goes wrong: until the diagonal is learned the tangent is wrong, and so is the derivative along it; the weight
    biases as in ``meanflow``, and the weighted term does not show progress.

    Attributes:
        diagonal: fraction of the batch on s = t, where the loss is flow matching (source: 0.5).
        power: p of the adaptive weight (source's published code: 1).
        epsilon: epsilon of the adaptive weight (source's published code: 0.01).
    """

    diagonal: Fraction = 0.5
    power: NonNegative = 1.0
    epsilon: Positive = 0.01

    name = "imeanflow"
    title = "Improved MeanFlow"
    family = "Eulerian"
    source = "arXiv 2512.02012, with the diagonal as predicted velocity"
    learns = "any_to_any"
    needs_teacher = False
    conditional = True
    # The adaptive weight follows a single sample's error: where data have several modes it pulls the mean away from the
    # true one.
    variants = (Variant({"power": 0.0}), Variant(mixture=0.15))

    @property
    def uses_jvp(self) -> bool:
        """True: the network's derivative is in the loss."""
        return True

    @property
    def target_decay(self) -> float | None:
        """0: the derivative is that of a stop-gradient copy of the student."""
        return 0.0

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``eulerian``."""
        assert target is not None
        t = torch.where(batch.uniform() < self.diagonal, batch.s, batch.t)
        x = batch.at(batch.s)
        with torch.no_grad():
            _, total = target.eulerian(batch.s, t, x, target.velocity(batch.s, x))
            goal = conditional_velocity(batch.x0, batch.x1) + expand(t - batch.s, x) * total
        error = squared_norm(student.average_velocity(batch.s, t, x) - goal)
        return {"eulerian": error / (error.detach() + self.epsilon) ** self.power}
