"""Easy consistency tuning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.schedules import lognormal_noise, time_of_noise
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.losses.ict import pseudo_huber
from ttfm.options import Count, NonNegative, Positive, Range


@register
@dataclass(frozen=True)
class EasyConsistencyTuning(Loss):
    r"""Easy consistency tuning (Geng et al., arXiv 2406.14548, and the authors' code).

    .. math:: w \, d(\phi_\theta(s \to 1)(x_s), \mathrm{sg}\,\phi_{s',x_{s'}}(1)), \quad
              w = \frac{1}{\sigma - \sigma'} \; \text{("gap")} \;\; \text{or} \;\;
              w = \frac{1}{\sigma^2} + \frac{1}{\sigma_d^2} \; \text{("snr")}

    for two states of one interpolant at noise levels :math:`\sigma = (1-s)/s`, whose logarithm is normal, and

    .. math:: \sigma' = \sigma \max(0, 1 - q^{-a} n(\sigma)), \quad n = 1 + k / (1 + e^{b \sigma}),

    s' = 1 / (1 + sigma'); d is the pseudo-Huber distance of ``ict`` (in the code, its limit c = 0, the norm). The stage
    a = 1, 2, ... advances ``doublings`` times in equal parts of the training. At first the target is the data point
    itself wherever n q^{-a} reaches 1, as in the training of a velocity, then s' approaches s. The student therefore
    starts from the teacher's weights, and no teacher is asked. The source shares one dropout mask between the two
    evaluations; ttfm's networks have no dropout.

    Source's symbols: its times t and r are sigma and sigma', its f(x_t) is :math:`\phi_{s,x_s}(1)`.

    Cost: 2F+B.

    What goes wrong: the weights are not bounded at the data end, so that early stages have rare large values; the
    pseudo-Huber distance aims beside the mean of a skewed target; only jumps to t = 1 are learned.

    Attributes:
        q: ratio by which the gap shrinks from stage to stage (source: 2 for the scheduled runs, 256 for those of one
            stage).
        doublings: number of stages (source: 8 on CIFAR-10).
        k: strength of the sigmoid that widens the gap at small noise (source: 8).
        b: its steepness (source: 1).
        p_mean: mean of the logarithm of the noise level (source: -1.1, for data of standard deviation 0.5).
        p_std: standard deviation of that logarithm (source: 2).
        weight: "gap" (source: CIFAR-10) or "snr" (source: ImageNet).
        sigma_d: the data's standard deviation in the weight "snr" (source: 0.5).
        distance: "pseudo_huber", or "squared" for the plain squared error.
    """

    q: Annotated[float, Range(1, open_="low")] = 2.0
    doublings: Count = 8
    k: NonNegative = 8.0
    b: Positive = 1.0
    p_mean: float = -1.1
    p_std: Positive = 2.0
    weight: Literal["gap", "snr"] = "gap"
    sigma_d: Positive = 0.5
    distance: Literal["pseudo_huber", "squared"] = "pseudo_huber"

    name = "ect"
    title = "ECT"
    family = "consistency"
    source = "arXiv 2406.14548 and the authors' code"
    learns = "to_data"
    needs_teacher = False
    starts_from_teacher = True
    conditional = True
    variants = (
        Variant({"distance": "squared", "doublings": 12}, progress=0.999),
        # As of ict: the pseudo-Huber distance aims beside the mean of a skewed target.
        Variant(mixture=1e-4, progress=0.999),
        Variant({"weight": "snr", "distance": "squared"}, progress=0.999),
        Variant({"q": 256.0, "doublings": 1, "k": 0.0}),
    )

    @property
    def target_decay(self) -> float | None:
        """0: a stop-gradient copy."""
        return 0.0

    def less_noise(self, sigma: Tensor, progress: float) -> Tensor:
        """The target's noise levels sigma' < sigma at a fraction of training done, shape as ``sigma``."""
        stage = math.floor(progress * self.doublings) + 1
        width = 1 + self.k * torch.sigmoid(-self.b * sigma)
        return sigma * (1 - width / self.q**stage).clamp(min=0)

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``consistency``."""
        assert target is not None
        sigma = lognormal_noise(batch.uniform(), self.p_mean, self.p_std)
        less = self.less_noise(sigma, batch.progress)
        s, later = time_of_noise(sigma), time_of_noise(less)
        end = torch.ones_like(s)
        with torch.no_grad():
            goal = target(later, end, batch.at(later))
        difference = student(s, end, batch.at(s)) - goal
        distance = pseudo_huber(difference) if self.distance == "pseudo_huber" else squared_norm(difference)
        weight = 1 / (sigma - less) if self.weight == "gap" else 1 / sigma**2 + 1 / self.sigma_d**2
        return {"consistency": weight * distance}
