"""Consistency training: the pair of neighbouring states lies on one interpolant, no teacher is asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.schedules import noise_grid, times_of_grid
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Decay, Positive, Range


@register
@dataclass(frozen=True)
class ConsistencyTraining(Loss):
    r"""Consistency training to t = 1 (Song et al., arXiv 2303.01469, section 5 and appendix C).

    .. math:: \| \phi_\theta(s \to 1)(x_s) - \phi^-_{s',x_{s'}}(1) \|^2, \quad x_s = (1-s) x_0 + s x_1, \;
              x_{s'} = (1-s') x_0 + s' x_1

    for neighbours s < s' of a grid: ``cd`` with the teacher's step replaced by the interpolant through the same (x0,
    x1), which is right in expectation as s' - s goes to 0. The source's grid, equidistant in :math:`\sigma^{1/\rho}`
    with :math:`\sigma = (1-s)/s`, is kept, with its ends moved to pure noise (s = 0) and data (s = 1). The number of
    grid points grows with the fraction k of training done,
    :math:`N = \lceil \sqrt{k ((s_1+1)^2 - s_0^2) + s_0^2} - 1 \rceil + 1` with s_0 = ``initial`` and s_1 = ``final``.

    Source's symbols: its time t is sigma, its state x_t is x_s / s, its f(x_t, t) is :math:`\phi_{s,x_s}(1)`.

    Cost: 2F+B.

    What goes wrong: a coarse grid is biased, a fine one learns slowly from the data end backwards, hence the growth;
    only jumps to t = 1 are learned.

    Attributes:
        initial: number of grid points at the start, s_0 (source: 2).
        final: number of grid points at the end, less one, s_1 (source: 150).
        rho: exponent of the grid (source: 7).
        sigma_min: noise level at the data end of the grid before that end is moved to s = 1 (source: 0.002).
        sigma_max: noise level at the noise end of the grid before that end is moved to s = 0 (source: 80).
        mu: EMA decay of the target network. The default 0, a stop-gradient copy, is ttfm's choice: the source lets it
            grow with N from 0.9, and its successor (``ict``) shows that 0 is right.
    """

    initial: Annotated[int, Range(2)] = 2
    final: Annotated[int, Range(2)] = 150
    rho: Positive = 7.0
    sigma_min: Positive = 0.002
    sigma_max: Positive = 80.0
    mu: Decay = 0.0

    name = "ct"
    title = "Consistency training"
    family = "consistency"
    source = "arXiv 2303.01469; ttfm's target is a stop-gradient copy"
    learns = "to_data"
    needs_teacher = False
    conditional = True
    variants = (Variant({"final": 1000}, progress=0.999), Variant({"final": 1000, "mu": 0.5}, progress=0.999))

    def __post_init__(self) -> None:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min: {self.sigma_min} must be below sigma_max, {self.sigma_max}")
        if self.initial > self.final:
            raise ValueError(f"initial: {self.initial} must not exceed final, {self.final}")

    @property
    def target_decay(self) -> float | None:
        """The option ``mu``."""
        return self.mu

    def points(self, progress: float) -> int:
        """Number of grid points at a fraction of training done."""
        first, last = self.initial**2, (self.final + 1) ** 2
        return math.ceil(math.sqrt(progress * (last - first) + first) - 1) + 1

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``consistency``."""
        assert target is not None
        points = self.points(batch.progress)
        times = times_of_grid(noise_grid(points, self.rho, self.sigma_min, self.sigma_max)).to(batch.x0)
        index = (batch.uniform() * (points - 1)).long().clamp(max=points - 2)
        s, later = times[index], times[index + 1]
        end = torch.ones_like(s)
        with torch.no_grad():
            goal = target(later, end, batch.at(later))
        return {"consistency": squared_norm(student(s, end, batch.at(s)) - goal)}
