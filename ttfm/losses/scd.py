"""Continuous-time consistency distillation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.schedules import lognormal_noise, time_of_noise
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Fraction, Positive


@register
@dataclass(frozen=True)
class ContinuousConsistencyDistillation(Loss):
    r"""sCD, continuous-time consistency distillation (Lu & Song, arXiv 2410.11081, algorithm 1).

    The source works in TrigFlow coordinates, :math:`X = \cos\tau \, x_1 + \sin\tau \, \sigma_d x_0`, with the network F
    in :math:`f = \cos\tau \, X - \sin\tau \, \sigma_d F`. With :math:`\rho = \sqrt{s^2 + (1-s)^2/\sigma_d^2}` it is the
    linear path rescaled,

    .. math:: X = x_s / \rho, \quad \cos\tau = s / \rho, \quad \sin\tau = (1-s) / (\sigma_d \rho), \quad
              d\tau/ds = -1 / (\sigma_d \rho^2),

    and one function read in two ways, :math:`f = \phi_{s,x_s}(1) = x_s + (1-s) u(s,1,x_s)`, gives

    .. math:: F = -\rho \, u + (s - (1-s)/\sigma_d^2) \, x_s / \rho.

    The source's loss, :math:`\|F_\theta - \mathrm{sg}(F + \bar g)\|^2` with the tangent g of weight
    :math:`1/(\sigma_d \tan\tau)`, i.e. :math:`g = \cos\tau \, df/d\tau`, is therefore exactly

    .. math:: \| \rho \, u_\theta - \mathrm{sg}[\rho \, u - \bar g] \|^2, \quad \bar g = g / (\|g\| + c), \quad
              g = (1-r) g_0 + r g_1,

    .. math:: g_0 = \frac{s^2 \sigma_d}{\rho} (u - v), \quad
              g_1 = s \sigma_d \rho \, [u - v - (1-s)(\partial_s u + \nabla_x u \, v)], \quad v = v_s(x_s),

    at (s, 1, x_s); r rises from 0 to 1 over ``warmup``, and g_0 is what is left of the source's g without the terms
    that it warms up. ttfm keeps its own network u in place of the source's F and its preconditioning, the same for all
    losses, and leaves out the learned weight of times, which the normalised tangent makes nearly constant.

    Source's symbols: its t, x_t, x_0 and z are tau, X, x_1 and sigma_d x_0 here; F, f and g are the same.

    Cost: J+F+B+V.

    What goes wrong: without normalisation and warm-up the Jacobian term makes training diverge; the reported value is
    that of the normalised tangent, below 1 always, and shows no progress before convergence; only jumps to t = 1 are
    learned.

    Attributes:
        sigma_d: standard deviation of the data, which fixes TrigFlow's coordinates (source: 0.5).
        p_mean: mean of the logarithm of the noise level (1-s)/s that is drawn (source: -1.0 on CIFAR-10).
        p_std: standard deviation of that logarithm (source: 1.4 on CIFAR-10).
        warmup: fraction of the training over which r rises (source: 10,000 steps); the default is ttfm's choice.
        normalise: whether the tangent is normalised (False is for comparison).
        c: constant of the normalisation (source: 0.1).
    """

    sigma_d: Positive = 0.5
    p_mean: float = -1.0
    p_std: Positive = 1.4
    warmup: Fraction = 0.1
    normalise: bool = True
    c: Positive = 0.1

    name = "scd"
    title = "sCD"
    family = "consistency"
    source = "arXiv 2410.11081, translated to the linear path; ttfm's network, no learned weight of times"
    learns = "to_data"
    needs_teacher = True
    variants = (
        Variant(progress=0.5),
        Variant({"warmup": 0.0}),
        Variant({"normalise": False, "sigma_d": 1.0}, progress=0.5),
    )

    @property
    def uses_jvp(self) -> bool:
        """True: the network's derivative is in the tangent."""
        return True

    def _velocity(self, batch: Batch, s: Tensor, x: Tensor, teacher: Field | None) -> Tensor:
        assert teacher is not None
        return teacher(s, x)

    def tangent(self, s: Tensor, u: Tensor, v: Tensor, total: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """The tangent g before normalisation, shape as ``u``, and rho, ``(B, 1, ..., 1)``.

        Args:
            s: times in (0, 1), ``(B,)``.
            u: u(s, 1, x), ``(B, *shape)``.
            v: velocities at (s, x), ``(B, *shape)``.
            total: the derivative of u(s, 1, x_s) along the path, ``(B, *shape)``.
            progress: fraction of training done.
        """
        time = expand(s, u)
        rho = (time**2 + ((1 - time) / self.sigma_d) ** 2).sqrt()
        ratio = min(1.0, progress / self.warmup) if self.warmup else 1.0
        start = time**2 * self.sigma_d / rho * (u - v)
        full = time * self.sigma_d * rho * (u - v - (1 - time) * total)
        return torch.lerp(start, full, ratio), rho

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``consistency``."""
        s = time_of_noise(lognormal_noise(batch.uniform(), self.p_mean, self.p_std))
        end, x = torch.ones_like(s), batch.at(s)
        with torch.no_grad():
            velocity = self._velocity(batch, s, x, teacher)
            u, total = student.eulerian(s, end, x, velocity)
            g, rho = self.tangent(s, u, velocity, total, batch.progress)
            if self.normalise:
                g = g / (expand(squared_norm(g).sqrt(), g) + self.c)
        return {"consistency": squared_norm(rho * (student.average_velocity(s, end, x) - u) + g)}
