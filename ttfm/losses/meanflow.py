"""MeanFlow from scratch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import conditional_velocity, expand
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.losses.dispersive import dispersion
from ttfm.options import Fraction, NonNegative, Positive


@register
@dataclass(frozen=True)
class MeanFlow(Loss):
    r"""MeanFlow (Geng et al., arXiv 2505.13447, eq. 9-11 and 22), without a teacher.

    .. math:: u_\theta(s,t,x_s) \to \mathrm{sg}[v + (t-s)(\partial_s u + \nabla_x u \, v)], \quad v = x_1 - x_0

    weighted per sample by :math:`1 / (\|\Delta\|^2 + \epsilon)^p`. Times are uniform, as for all losses here; the
    source draws logit-normal ones. The term reported is the weighted one, as it is trained.

    Source's symbols: noise at t = 1; its t and r are 1-s and 1-t here, its u and v are -u and -v.

    Cost: J+F+B.

    What goes wrong: the derivative multiplies the velocity by the network's Jacobian, which grows with the frequencies
    of its embeddings; the weight follows the error of a single sample and so moves the minimum away from the mean
    wherever a target's noise is large beside its mean, above all in few dimensions (p = 0 does not); the weighted term
    does not show progress.

    Attributes:
        diagonal: fraction of the batch on s = t, where the loss is flow matching (the source's CIFAR-10 setting: 25 %).
        power: p of the adaptive weight (the source's CIFAR-10 setting: 0.75).
        epsilon: epsilon of the adaptive weight (source: 1e-3).
        dispersive: weight of a term that drives the network's hidden features apart (arXiv 2506.09027), as MeanFlow
            policies for robots use it: MP1 (arXiv 2507.10543) and DM1 (arXiv 2510.07865); 0 leaves it out. Which
            features they are is the network's choice; the policies' own weights and layers are not reproduced.
        temperature: tau of the dispersive term (arXiv 2506.09027: 0.5).
    """

    diagonal: Fraction = 0.25
    power: NonNegative = 0.75
    epsilon: Positive = 1e-3
    dispersive: NonNegative = 0.0
    temperature: Positive = 0.5

    name = "meanflow"
    title = "MeanFlow"
    family = "Eulerian"
    source = "arXiv 2505.13447"
    learns = "any_to_any"
    needs_teacher = False
    conditional = True
    # The adaptive weight follows a single sample's error: where data have several modes it pulls the mean away from the
    # true one.
    variants = (Variant({"power": 0.0}), Variant(mixture=0.03), Variant({"power": 0.0, "diagonal": 0.0}))

    @property
    def uses_jvp(self) -> bool:
        """True: the network's derivative is in the loss."""
        return True

    @property
    def weights(self) -> dict[str, float]:
        """The dispersive term's weight is the option ``dispersive``."""
        return {"dispersive": self.dispersive}

    def _velocity(self, batch: Batch, x: Tensor, teacher: Field | None) -> Tensor:
        return conditional_velocity(batch.x0, batch.x1)

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """Terms ``eulerian`` and, if its weight is not 0, ``dispersive``."""
        t = torch.where(batch.uniform() < self.diagonal, batch.s, batch.t)
        x = batch.at(batch.s)
        with torch.no_grad():
            velocity = self._velocity(batch, x, teacher)
            _, total_derivative = student.eulerian(batch.s, t, x, velocity)
            goal = velocity + expand(t - batch.s, x) * total_derivative
        if not self.dispersive:
            return {"eulerian": self._weighted(student.average_velocity(batch.s, t, x) - goal)}
        u, features = student.with_features(batch.s, t, x)
        return {"eulerian": self._weighted(u - goal), "dispersive": dispersion(features, self.temperature)}

    def _weighted(self, residual: Tensor) -> Tensor:
        error = squared_norm(residual)
        return error / (error.detach() + self.epsilon) ** self.power
