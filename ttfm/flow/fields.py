"""Velocity fields v_t(x) = E[x1 - x0 | x_t = x]: closed-form ones, and learned ones behind the same call."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ttfm.flow.interpolant import expand
from ttfm.flow.labels import LabelsError, bound, current
from ttfm.flow.precision import Precision, evaluate


class GaussianMixtureField:
    r"""The exact marginal velocity of the linear path from N(0, I) to an isotropic Gaussian mixture.

    With :math:`x_1 \sim \sum_k w_k N(m_k, \sigma^2 I)` the state is
    :math:`x_t \sim \sum_k w_k N(t m_k, a_t^2 I)`, :math:`a_t^2 = (1-t)^2 + t^2 \sigma^2`, and by Gaussian conditioning
    :math:`v_t(x) = \sum_k p_k(t,x) [m_k + \dot a_t / a_t (x - t m_k)]` with posterior weights :math:`p_k`
    (Albergo & Vanden-Eijnden, arXiv 2303.08797, section on Gaussian mixtures).

    Args:
        means: component means, shape ``(K, D)``.
        std: common standard deviation sigma > 0 of every component.
        weights: mixture weights, shape ``(K,)``, summing to one; uniform by default.

    Raises:
        ValueError: if ``std`` is not positive.
    """

    def __init__(self, means: Tensor, std: float, weights: Tensor | None = None):
        if std <= 0:
            raise ValueError(f"the components' std must be positive, not {std}")
        self.means = means
        self.std = std
        self.log_weights = means.new_zeros(len(means)) if weights is None else weights.log()

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """Velocities ``(B, D)`` at times ``t`` ``(B,)`` and states ``x`` ``(B, D)``."""
        # Moved once: a copy to a GPU waits for all that it has to do. In their own dtype, so that nothing is lost.
        self.means, self.log_weights = self.means.to(x.device), self.log_weights.to(x.device)
        means = self.means.to(x.dtype)
        time = expand(t, x)
        variance = (1 - time) ** 2 + time**2 * self.std**2
        rate = (time * self.std**2 - (1 - time)) / variance
        # |x - t m|^2 without the (B, K, D) difference; the |x|^2 term is common to all components and drops out.
        scores = (time * x @ means.T - time**2 * means.square().sum(1) / 2) / variance + self.log_weights.to(x.dtype)
        mean = scores.softmax(dim=1) @ means
        return mean + rate * (x - time * mean)


class LinearGaussianField(GaussianMixtureField):
    r"""The one-component case, whose flow map is affine and known: :math:`x_1 \sim N(m, \sigma^2 I)`."""

    def __init__(self, mean: Tensor, std: float):
        super().__init__(mean[None], std)

    def average_velocity(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        r"""The exact :math:`u = m + (x - s m) (a_t - a_s) / ((t - s) a_s)`, written without the division by t - s.

        Args:
            s: start times in [0, 1], shape ``(B,)``.
            t: end times in [s, 1], shape ``(B,)``.
            x: states at the start times, shape ``(B, D)``.
        """
        start, end = expand(s, x), expand(t, x)
        mean, variance = self.means[0].to(x), self.std**2
        a_s = ((1 - start) ** 2 + start**2 * variance).sqrt()
        a_t = ((1 - end) ** 2 + end**2 * variance).sqrt()
        # (a_t^2 - a_s^2) / (t - s) is a polynomial, and a_t - a_s that difference over a_t + a_s.
        slope = ((end + start) * (1 + variance) - 2) / (a_t + a_s)
        return mean + slope / a_s * (x - start * mean)

    def flow_map(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        r"""The exact map :math:`\phi_{s,x}(t) = t m + (a_t / a_s) (x - s m)`, shape ``(B, D)`` as ``x``."""
        return x + expand(t - s, x) * self.average_velocity(s, t, x)


class LearnedField:
    """A network's diagonal u(t, t, x) as a velocity field.

    Args:
        network: module called as ``network(s, t, x)``.
        latest: the latest time at which the network is asked. The velocity of the linear path is stiff at t = 1
            (it grows like 1 / (1 - t)), so a learned field is queried at ``min(t, latest)``.
        precision: that of the network's evaluations.
    """

    def __init__(self, network: nn.Module, latest: float = 1 - 1e-3, precision: Precision = "float32"):
        self.network = network
        self.latest = latest
        self.precision: Precision = precision

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """Velocities ``(B, *shape)`` at times ``t`` ``(B,)`` and states ``x`` ``(B, *shape)``."""
        t = t.clamp(max=self.latest)
        return evaluate(self.network, t, t, x, self.precision)


class GuidedField:
    r"""A network's diagonal under classifier-free guidance (Ho & Salimans, arXiv 2207.12598), for the labels bound.

    .. math:: v = v_\varnothing + w (v_c - v_\varnothing)

    with v_c for the samples' labels and :math:`v_\varnothing` for the null class, in one call of twice the batch.
    Outside of ``interval`` w is 1, the conditional velocity (Kynkäänniemi et al., arXiv 2404.07724, whose interval is
    one of noise levels). The schedule "constant" has w = ``scale`` inside; "raag" lowers it, sample by sample, where
    guidance is strong already:

    .. math:: w = 1 + (w_\max - 1) \exp(-\alpha \rho), \quad \rho = \|v_c - v_\varnothing\| / \|v_\varnothing\|

    RAAG (arXiv 2508.03442) is a reconstruction: the formula and the default of ``alpha`` are those of descriptions and
    of an independent implementation; the paper's own text could not be had.

    Args:
        network: module called as ``network(s, t, x)``, trained with dropped labels.
        classes: its number of classes, which is the null class.
        scale: w, or its maximum; 1 is the conditional velocity.
        interval: first and last time of guidance, in [0, 1].
        schedule: "constant" or "raag".
        alpha: rate of "raag".
        latest: as of :class:`LearnedField`.
        precision: that of the network's evaluations.
    """

    evaluations = 2

    def __init__(
        self,
        network: nn.Module,
        classes: int,
        scale: float,
        interval: tuple[float, float] = (0.0, 1.0),
        schedule: Literal["constant", "raag"] = "constant",
        alpha: float = 12.0,
        latest: float = 1 - 1e-3,
        precision: Precision = "float32",
    ):
        self.network, self.classes = network, classes
        self.scale, self.interval, self.schedule, self.alpha = scale, interval, schedule, alpha
        self.latest = latest
        self.precision: Precision = precision

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """Velocities ``(B, *shape)`` at times ``t`` ``(B,)`` and states ``x`` ``(B, *shape)``.

        Raises:
            ttfm.flow.labels.LabelsError: if no labels are bound, or those of another number of samples.
        """
        labels = current(len(x))
        if labels is None:
            raise LabelsError("guidance needs the samples' labels, and none are bound")
        asked = t.clamp(max=self.latest).repeat(2)
        labels = labels.to(x.device)
        with bound(torch.cat([labels, torch.full_like(labels, self.classes)])):
            conditional, null = evaluate(self.network, asked, asked, torch.cat([x, x]), self.precision).chunk(2)
        difference = conditional - null
        return null + expand(self._weight(t, difference, null), x) * difference

    def _weight(self, t: Tensor, difference: Tensor, null: Tensor) -> Tensor:
        """W of every sample, ``(B,)``."""
        weight = torch.full_like(t, self.scale)
        if self.schedule == "raag":
            ratio = difference.flatten(1).norm(dim=1) / null.flatten(1).norm(dim=1).clamp(min=1e-12)
            weight = 1 + (self.scale - 1) * (-self.alpha * ratio).exp()
        start, end = self.interval
        return torch.where((t >= start) & (t <= end), weight, 1.0)


def ring_means(modes: int, radius: float) -> Tensor:
    """Means of equally spaced modes on a circle, shape ``(modes, 2)``, float32."""
    angles = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
    return (radius * torch.stack([angles.cos(), angles.sin()], dim=1)).float()
