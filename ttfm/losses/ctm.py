"""Consistency trajectory models."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import conditional_velocity, expand
from ttfm.flow.labels import rows
from ttfm.flow.solvers import Field, heun
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Count, Decay, NonNegative


@register
@dataclass(frozen=True)
class CTM(Loss):
    r"""Consistency trajectory models (Kim et al., arXiv 2310.02279), without the GAN.

    .. math:: \| \phi^-_{t \to 1}(\phi_\theta(s \to t)(x_s)) -
              \phi^-_{t \to 1}(\phi^-_{r \to t}(\hat x_r)) \|^2 + \lambda \| u_\theta(s',s',x_{s'}) - (x_1 - x_0) \|^2

    with :math:`\hat x_r` the teacher's state at r in [s, t] by Heun steps from x_s: "soft" consistency, from local (r
    near s) to global (r = t), compared at the data end after a jump of the EMA with frozen weights that the gradient
    flows through. ttfm's own: a fixed number of equal Heun steps in place of up to 17 on a grid of noise levels,
    uniform times, the squared error in place of LPIPS, velocities in place of denoised states and a fixed lambda in the
    second term.

    Source's symbols: noise at the last time; its t, u, s are s, r, t here, and its G is the map.

    Cost: 2V per Heun step, 2F, and F+B three times: the jump, the last jump, whose weights need no gradient, and the
    second term.

    What goes wrong: the source's results rely on the adversarial term, which is not here; what the Heun steps leave of
    the longest interval bounds the map's error from below.

    Attributes:
        heun_steps: Heun steps of the teacher from s to r; what they leave of the longest interval bounds the map's
            error from below (on the 8-Gaussian ring 0.08 with 4 steps, 0.02 with 8).
        mu: EMA decay of the target network (source: 0.999).
        denoising: lambda, weight of flow matching on the diagonal; 0 leaves it out.
    """

    heun_steps: Count = 8
    mu: Decay = 0.999
    denoising: NonNegative = 1.0

    name = "ctm"
    title = "CTM (no GAN)"
    family = "consistency"
    source = "arXiv 2310.02279 without its adversarial term; solver steps, times and distance are ttfm's"
    learns = "any_to_any"
    needs_teacher = True
    conditional = True
    exact_terms = ("consistency",)
    variants = (Variant({"denoising": 0.0}, residual=5e-5, mixture=5e-4), Variant(residual=5e-5, mixture=5e-4))

    @property
    def target_decay(self) -> float | None:
        """The option ``mu``."""
        return self.mu

    @property
    def weights(self) -> dict[str, float]:
        """The weight of flow matching is the option ``denoising``."""
        return {"denoising": self.denoising}

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """Terms ``consistency`` and, unless its weight is 0, ``denoising``."""
        assert target is not None and teacher is not None
        s, t, x = batch.s, batch.t, batch.at(batch.s)
        end = torch.ones_like(t)
        with torch.no_grad():
            step = (1 - batch.uniform()) * (t - s) / self.heun_steps
            now, state = s, x
            for _ in range(self.heun_steps):
                now, state = now + step, heun(teacher, now, step, state)
            now = torch.minimum(now, t)
            goal = target(t, end, target(now, t, state))

        if not self.denoising:
            return {"consistency": squared_norm(_frozen(target, t, end, student(s, t, x)) - goal)}
        time = batch.single_time()
        joined = torch.cat([s, time]), torch.cat([t, time]), torch.cat([x, batch.at(time)])
        with rows(slice(None), slice(None)):
            average, velocity = student.average_velocity(*joined).chunk(2)
        jump = x + expand(t - s, x) * average
        return {
            "consistency": squared_norm(_frozen(target, t, end, jump) - goal),
            "denoising": squared_norm(velocity - conditional_velocity(batch.x0, batch.x1)),
        }


def _frozen(model: FlowMap, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """The jump of ``model`` from s to t with a gradient in x alone, even where ``model`` shares weights that learn."""
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    return functional_call(model, weights, (s, t, x))
