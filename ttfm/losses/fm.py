"""Flow matching, and the choices that its teachers differ in: times, interpolant, coupling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import conditional_velocity, interpolate
from ttfm.flow.paths import PATHS, on_the_linear_path
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Count

SKEWED = (1.2, 1.2)
"""Mean and spread of the logit of the skewed time: the noise level (1-t)/t is log-normal as in arXiv 2206.00364."""


@register
@dataclass(frozen=True)
class FlowMatching(Loss):
    r"""Conditional flow matching (Lipman et al., arXiv 2210.02747; Liu et al., arXiv 2209.03003).

    .. math:: E_\tau \, w(\tau) \| u_\theta(t, t, x_t) - (x_1 - x_0) \|^2, \quad x_t = (1-t) x_0 + t x_1

    Its minimiser is the marginal velocity :math:`v_t(x) = E[x_1 - x_0 | x_t = x]`. Only the diagonal s = t is trained.

    A teacher along another Gaussian path :math:`\alpha_\tau x_1 + \sigma_\tau x_0` is this one after a change of time
    and scale: :math:`t = \alpha/(\alpha+\sigma)`, and its squared error is that of the linear path times
    :math:`w = ((\dot\alpha\sigma - \alpha\dot\sigma)/(\alpha+\sigma))^2`. The network so trained is a velocity of the
    linear path, which all students share; what the choice decides is where the error is made small.

    Source's symbols: a velocity v at (t, x) is u(t, t, x) here; times and ends are the same.

    Cost: F+B.

    What goes wrong: where lines between pairs cross, the flow of the mean velocity bends, and few Euler steps miss it
    however well it is learned.

    Attributes:
        time: density of the path's time: "uniform"; "logit_normal" (Esser et al., arXiv 2403.03206: standard normal
            logit); "skewed" towards data (noise level log-normal, as in EDM).
        interpolant: "linear"; "gvp", :math:`\alpha = \sin(\pi\tau/2), \sigma = \cos(\pi\tau/2)`; "vp", the
            variance-preserving diffusion with rates 0.1 to 20 (arXiv 2303.08797; 2401.08740).
        coupling: "independent", or "ot": noise and data of a batch are paired by optimal transport (Tong et al., arXiv
            2302.00482; solved exactly by POT), which straightens paths; small groups bias it.
        group: samples that are coupled at a time under "ot"; the batch is cut into such groups.
    """

    time: Literal["uniform", "logit_normal", "skewed"] = "uniform"
    interpolant: Literal["linear", "gvp", "vp"] = "linear"
    coupling: Literal["independent", "ot"] = "independent"
    group: Count = 128

    name = "fm"
    title = "Flow matching"
    family = "velocity"
    source = "arXiv 2210.02747, arXiv 2209.03003"
    learns = "velocity"
    needs_teacher = False
    conditional = True
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant(),
        Variant({"time": "logit_normal", "interpolant": "gvp"}),
        Variant({"time": "skewed", "interpolant": "vp"}),
    )

    def path_time(self, batch: Batch) -> Tensor:
        """Times of the path in [0, 1], shape ``(B,)``; the same uniform numbers whatever the density."""
        time = batch.single_time()
        if self.time == "uniform":
            return time
        mean, spread = SKEWED if self.time == "skewed" else (0.0, 1.0)
        normal = math.sqrt(2) * torch.erfinv((2 * time - 1).clamp(-1 + 1e-6, 1 - 1e-6))
        return (mean + spread * normal).sigmoid()

    def weight(self, x0: Tensor, x1: Tensor) -> Tensor | None:
        """Weight of each pair, shape ``(B,)``; None where all weigh the same."""
        return None

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``velocity``."""
        time, factor = self.path_time(batch), None
        if self.interpolant != "linear":
            time, factor = on_the_linear_path(PATHS[self.interpolant], time)
        x0, x1 = batch.x0, batch.x1
        if self.coupling == "ot":
            x0 = optimally_coupled(x0, x1, self.group)
        state = interpolate(x0, x1, time)
        error = squared_norm(student.velocity(time, state) - conditional_velocity(x0, x1))
        for weight in (factor, self.weight(x0, x1)):
            error = error if weight is None else error * weight
        return {"velocity": error}


def optimally_coupled(x0: Tensor, x1: Tensor, group: int) -> Tensor:
    """``x0`` in the order in which it is optimally coupled with ``x1``, within groups of consecutive samples.

    The squared distance is the cost. Solved on the CPU, exactly: with equal weights the optimal plan is a permutation.

    Args:
        x0: noise, shape ``(B, *shape)``.
        x1: data, of the same shape.
        group: samples per group, at least 1; the last group may be smaller.
    """
    import ot  # takes a second to import; only this coupling pays for it

    order = []
    for start in range(0, len(x0), group):
        ours, theirs = (x[start : start + group].detach().flatten(1).double().cpu() for x in (x0, x1))
        weights = torch.full((len(ours),), 1 / len(ours), dtype=torch.float64).numpy()
        plan = ot.emd(weights, weights, torch.cdist(theirs, ours).square().numpy())
        order.append(start + torch.from_numpy(plan.argmax(axis=1)))
    return x0[torch.cat(order).to(x0.device)]
