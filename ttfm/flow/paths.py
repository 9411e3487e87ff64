"""Gaussian paths alpha x1 + sigma x0 other than the linear one, and what they are on the linear path."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Path = Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]
"""Times in [0, 1] ``(B,)`` to alpha, sigma and their time derivatives, each ``(B,)``; tau = 0 is noise, 1 is data."""

LATEST = 1 - 1e-3
"""The variance-preserving path's noise has an infinite slope at tau = 1: its times stop here."""

RATES = (0.1, 20.0)
"""Lowest and highest rate of the variance-preserving diffusion (Song et al., arXiv 2011.13456)."""


def gvp(tau: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""The generalised variance-preserving path: :math:`\alpha = \sin(\pi\tau/2), \sigma = \cos(\pi\tau/2)`."""
    angle = math.pi / 2 * tau
    alpha, sigma = angle.sin(), angle.cos()
    return alpha, sigma, math.pi / 2 * sigma, -math.pi / 2 * alpha


def vp(tau: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""The variance-preserving diffusion with linear rate, run from noise to data.

    .. math:: \log\alpha = -(1-\tau)^2 (\beta_1 - \beta_0)/4 - (1-\tau) \beta_0 / 2, \quad \sigma^2 = 1 - \alpha^2
    """
    low, high = RATES
    left = 1 - tau.clamp(max=LATEST)
    alpha = (-(left**2) * (high - low) / 4 - left * low / 2).exp()
    sigma = (1 - alpha**2).sqrt()
    rise = alpha * (left * (high - low) / 2 + low / 2)
    return alpha, sigma, rise, -alpha * rise / sigma


PATHS: dict[str, Path] = {"gvp": gvp, "vp": vp}


def on_the_linear_path(path: Path, tau: Tensor) -> tuple[Tensor, Tensor]:
    r"""The linear path's time of the same signal-to-noise ratio, and the factor between the squared velocity errors.

    With :math:`c = \alpha + \sigma` the state is :math:`c \, x_t` at :math:`t = \alpha / c`, hence its velocity
    :math:`\dot c \, x_t + c \, \dot t \, v_t(x_t)` and the factor :math:`(c \, \dot t)^2`.

    Args:
        path: the path.
        tau: its times, shape ``(B,)``.

    Returns:
        t in [0, 1] and the factor, both of shape ``(B,)``.
    """
    alpha, sigma, rise, fall = path(tau)
    total = alpha + sigma
    return alpha / total, torch.square((rise * sigma - alpha * fall) / total)
