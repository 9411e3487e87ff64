"""Improved consistency training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.schedules import noise_grid, times_of_grid
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Positive, Range

HUBER = 0.00054
"""The pseudo-Huber constant per square root of the dimension (arXiv 2310.14189, section 3.3)."""


def pseudo_huber(difference: Tensor) -> Tensor:
    r""":math:`\sqrt{\|\Delta\|^2 + c^2} - c` with c = 0.00054 sqrt(D), per sample: ``(B, *shape) -> (B,)``."""
    c = HUBER * math.sqrt(difference[0].numel())
    return (squared_norm(difference) + c**2).sqrt() - c


@register
@dataclass(frozen=True)
class ImprovedConsistencyTraining(Loss):
    r"""Improved consistency training (Song & Dhariwal, arXiv 2310.14189, table 1).

    .. math:: \frac{1}{\sigma_s - \sigma_{s'}} \, d(\phi_\theta(s \to 1)(x_s), \mathrm{sg}\,\phi_{s',x_{s'}}(1)), \quad
              d = \sqrt{\|\cdot\|^2 + c^2} - c

    for neighbours s < s' of the grid of ``ct``, of noise levels :math:`\sigma_s = (1-s)/s` (where an end of the grid is
    moved to s = 0 or s = 1, the weight keeps the finite level it had). What it changes there: the target is a
    stop-gradient copy; the distance is the pseudo-Huber one, c = 0.00054 sqrt(D); the weight; the pair is drawn with
    the probability that a log-normal distribution gives to the interval of its levels; and the number of intervals
    doubles from ``initial`` to ``final`` in equal parts of the training,
    :math:`N = \min(s_0 2^{\lfloor k / K' \rfloor}, s_1) + 1` with K' the training over
    :math:`\lfloor \log_2 (s_1 / s_0) \rfloor + 1`.

    Source's symbols: its time is the noise level sigma, its state x_s / s, its f(x, sigma) is :math:`\phi_{s,x_s}(1)`.

    Cost: 2F+B.

    What goes wrong: the weight reaches 10^4 and more at the data end, and with the squared distance in place of the
    pseudo-Huber one single pairs can dominate a step; the pseudo-Huber distance aims beside the mean of a skewed
    target; only jumps to t = 1 are learned.

    Attributes:
        initial: number of intervals at the start (source: 10).
        final: number of intervals at the end (source: 1280).
        rho: exponent of the grid (source: 7).
        sigma_min: noise level at the data end of the grid (source: 0.002).
        sigma_max: noise level at the noise end of the grid (source: 80).
        p_mean: mean of the logarithm of the drawn noise level (source: -1.1, for data of standard deviation 0.5).
        p_std: standard deviation of that logarithm (source: 2).
        distance: "pseudo_huber", or "squared" for the plain squared error, with which the target's conditional mean is
            what is learned.
    """

    initial: Annotated[int, Range(2)] = 10
    final: Annotated[int, Range(2)] = 1280
    rho: Positive = 7.0
    sigma_min: Positive = 0.002
    sigma_max: Positive = 80.0
    p_mean: float = -1.1
    p_std: Positive = 2.0
    distance: Literal["pseudo_huber", "squared"] = "pseudo_huber"

    name = "ict"
    title = "iCT"
    family = "consistency"
    source = "arXiv 2310.14189"
    learns = "to_data"
    needs_teacher = False
    conditional = True
    # The pseudo-Huber distance grows like the norm: where a target's noise is skewed it aims beside its mean.
    variants = (Variant({"distance": "squared"}, progress=0.999), Variant(mixture=1e-4, progress=0.999))

    def __post_init__(self) -> None:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min: {self.sigma_min} must be below sigma_max, {self.sigma_max}")
        if self.initial > self.final:
            raise ValueError(f"initial: {self.initial} must not exceed final, {self.final}")

    @property
    def target_decay(self) -> float | None:
        """0: a stop-gradient copy."""
        return 0.0

    def points(self, progress: float) -> int:
        """Number of grid points at a fraction of training done."""
        parts = math.floor(math.log2(self.final // self.initial)) + 1
        return min(self.initial * 2 ** math.floor(progress * parts), self.final) + 1

    def probabilities(self, sigma: Tensor) -> Tensor:
        """Of each interval of decreasing noise levels ``(N,)``, shape ``(N - 1,)``, summing to one."""
        below = torch.special.ndtr((sigma.log() - self.p_mean) / self.p_std)
        mass = below[:-1] - below[1:]
        return mass / mass.sum()

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``consistency``."""
        assert target is not None
        sigma = noise_grid(self.points(batch.progress), self.rho, self.sigma_min, self.sigma_max)
        times, weights = times_of_grid(sigma).to(batch.x0), (1 / (sigma[:-1] - sigma[1:])).to(batch.x0)
        bounds = self.probabilities(sigma).cumsum(0).to(batch.x0)
        index = torch.searchsorted(bounds, batch.uniform(), right=True).clamp(max=len(weights) - 1)
        s, later = times[index], times[index + 1]
        end = torch.ones_like(s)
        with torch.no_grad():
            goal = target(later, end, batch.at(later))
        difference = student(s, end, batch.at(s)) - goal
        distance = pseudo_huber(difference) if self.distance == "pseudo_huber" else squared_norm(difference)
        return {"consistency": weights[index] * distance}
