"""Moving averages of a network's parameters.

Two uses that must not be mixed up: the *evaluation* EMA, which every run keeps and which is what gets sampled and
stored, and the *target* EMA, which only losses that ask for one see while they train.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn


class EMA:
    r"""An averaged copy of a network: :math:`\bar\theta \leftarrow \mu_k \bar\theta + (1 - \mu_k) \theta`.

    The decay is warmed up, :math:`\mu_k = \min(\mu, (1 + k) / (10 + k))` at update k = 0, 1, ..., so that the first
    iterates are forgotten quickly.

    Args:
        network: the network to follow; the copy starts equal to it and never requires a gradient.
        decay: mu in [0, 1); with 0 the copy equals the network after every update.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.updates = 0
        self._average: list[Tensor] = list(self.network.parameters())
        self._source: list[Tensor] = list(network.parameters())

    def rate(self) -> float:
        """The decay of the next update."""
        return min(self.decay, (1 + self.updates) / (10 + self.updates))

    @torch.no_grad()
    def update(self) -> None:
        """Take one step towards the followed network; one fused kernel for all parameters."""
        torch._foreach_lerp_(self._average, self._source, 1 - self.rate())
        self.updates += 1


class PowerEMA(EMA):
    r"""The power-function average (Karras et al., arXiv 2312.02696, section 3.1), whose width grows with the training.

    After k updates it is the mean of the iterates weighted by :math:`\tau^\gamma` at update :math:`\tau`, computed by
    the decay :math:`\beta_k = (1 - 1/k)^{\gamma+1}` at update k = 1, 2, ...: nothing is left of the start.

    Args:
        network: as of :class:`EMA`.
        width: the relative width, the profile's standard deviation as a fraction of the training; see
            :func:`power_of_width`.
    """

    def __init__(self, network: nn.Module, width: float):
        super().__init__(network, width)
        self.power = power_of_width(width)

    def rate(self) -> float:
        """The decay of the next update."""
        return (1 - 1 / (self.updates + 1)) ** (self.power + 1)


def power_of_width(width: float) -> float:
    r"""The exponent gamma >= 0 of the power-function average of a relative width.

    .. math:: \sigma_\mathrm{rel} = (\gamma+1)^{1/2} (\gamma+2)^{-1} (\gamma+3)^{-1/2}

    (arXiv 2312.02696, section 3.1), a cubic in gamma; 0.10 gives 6.94 and 0.05 gives 16.97.

    Args:
        width: sigma_rel, between 0 and 12^(-1/2).

    Raises:
        ValueError: if no average is so wide.
    """
    # (gamma + 2)^2 (gamma + 3) - (gamma + 1) / width^2, highest power first.
    roots = np.roots([1, 7, 16 - width**-2, 12 - width**-2]) if width > 0 else np.array([])
    found = roots[np.isreal(roots)].real.max(initial=-1.0)
    if found < 0:
        raise ValueError(f"no power-function average has a relative width of {width}")
    return float(found)
