"""Exponential moving averages of a network's parameters.

Two uses that must not be mixed up: the *evaluation* EMA, which every run keeps and which is what gets sampled and
stored, and the *target* EMA, which only losses that ask for one see while they train.
"""

from __future__ import annotations

import copy

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

    @torch.no_grad()
    def update(self) -> None:
        """Take one step towards the followed network; one fused kernel for all parameters."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self._average, self._source, 1 - decay)
        self.updates += 1
