"""Consistency distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.schedules import noise_grid, times_of_grid
from ttfm.flow.solvers import Field, heun
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Decay, Positive, Range


@register
@dataclass(frozen=True)
class ConsistencyDistillation(Loss):
    r"""Consistency distillation to t = 1 (Song et al., arXiv 2303.01469, eq. 7 and appendix C).

    .. math:: \| \phi_\theta(s \to 1)(x_s) - \phi^-_{s',\hat x_{s'}}(1) \|^2

    for neighbours s < s' of a grid, with :math:`\hat x_{s'}` one Heun step of the teacher from x_s. The source's grid
    in the noise level :math:`\sigma = (1-s)/s` is kept, equidistant in :math:`\sigma_i^{1/\rho}`, with its ends moved
    to pure noise (s = 0) and data (s = 1), where the linear path begins and ends. The parametrisation phi = x + (1-s) u
    satisfies the boundary condition. The source trains with RAdam and LPIPS; ttfm with the optimizer of all losses and
    the squared error.

    Source's symbols: its time t is sigma, its state x_t is x_s / s, its f(x_t, t) is :math:`\phi_{s,x_s}(1)`.

    Cost: 2V+2F+B.

    What goes wrong: what is known at the data end travels to the noise grid point by grid point, and errors add up on
    the way, so that a fine grid takes long and a coarse one leaves the error of its Heun steps; only jumps to t = 1 are
    learned, and samples of several steps are re-noised in between, which leaves the teacher's path.

    Attributes:
        grid: number of grid points N (source: 18 for CIFAR-10).
        rho: exponent of the grid (source: 7).
        sigma_min: noise level at the data end of the grid before that end is moved to s = 1 (source: 0.002).
        sigma_max: noise level at the noise end of the grid before that end is moved to s = 0 (source: 80).
        mu: EMA decay of the target network; the default 0, a stop-gradient copy, is ttfm's choice.
    """

    grid: Annotated[int, Range(3)] = 18
    rho: Positive = 7.0
    sigma_min: Positive = 0.002
    sigma_max: Positive = 80.0
    mu: Decay = 0.0

    name = "cd"
    title = "Consistency distillation"
    family = "consistency"
    source = "arXiv 2303.01469"
    learns = "to_data"
    needs_teacher = True
    variants = (Variant(residual=1e-5, mixture=1e-5), Variant({"grid": 40, "mu": 0.9}, residual=1e-7, mixture=1e-7))

    def __post_init__(self) -> None:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min: {self.sigma_min} must be below sigma_max, {self.sigma_max}")

    @property
    def target_decay(self) -> float | None:
        """The option ``mu``."""
        return self.mu

    def times(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """The grid's times, increasing from 0 to 1, shape ``(grid,)``."""
        return times_of_grid(noise_grid(self.grid, self.rho, self.sigma_min, self.sigma_max)).to(device, dtype)

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``consistency``."""
        assert teacher is not None and target is not None
        times = self.times(batch.x0.device, batch.x0.dtype)
        index = (batch.uniform() * (self.grid - 1)).long().clamp(max=self.grid - 2)
        s, later = times[index], times[index + 1]
        end = torch.ones_like(s)
        x = batch.at(s)
        with torch.no_grad():
            goal = target(later, end, heun(teacher, s, later - s, x))
        return {"consistency": squared_norm(student(s, end, x) - goal)}
