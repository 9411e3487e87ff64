"""Networks of one architecture computed as one, by batched matrix products: small ones leave most of a device idle."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ttfm.networks.dual import batched_linear


class StackingError(ValueError):
    """Networks cannot be computed as one; the message says why."""


class StackedLinear(nn.Module):
    """The linear layers of n networks: weights ``(n, out, in)``, biases ``(n, out)``.

    Args:
        layers: one of each network, of the same sizes.
    """

    def __init__(self, layers: Sequence[nn.Linear]):
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        self.bias = nn.Parameter(torch.stack(biases)) if biases else None

    def forward(self, input: Tensor) -> Tensor:
        """``(n * B, in)``, the samples of a network one after another, to ``(n * B, out)``.

        Raises:
            StackingError: if the samples cannot be shared out evenly.
        """
        count = len(self.weight)
        if len(input) % count:
            raise StackingError(f"{len(input)} samples are not the same number for each of {count} networks")
        x = input.reshape(count, -1, input.shape[-1])
        return batched_linear(x, self.weight, self.bias).flatten(0, 1)


class Stacked(nn.Module):
    """n networks u(s, t, x) of one architecture as one, for interleaved batches: sample b of network i at b * n + i.

    The first samples of a batch are then the first of every network's, and batches may be joined and divided.

    Args:
        networks: their weights become views into this module's: what changes one changes the other.

    Raises:
        StackingError: if they differ in more than their weights' values, or have weights outside of linear layers.
    """

    def __init__(self, networks: Sequence[nn.Module]):
        super().__init__()
        shapes = [[(name, weight.shape) for name, weight in network.named_parameters()] for network in networks]
        if any(found != shapes[0] for found in shapes):
            raise StackingError("the networks are not of one architecture")
        self.count = len(networks)
        self.inner = copy.deepcopy(networks[0])
        for name, module in networks[0].named_modules():
            if isinstance(module, nn.Linear):
                layers = [network.get_submodule(name) for network in networks]
                self.inner.set_submodule(name, StackedLinear(layers))  # type: ignore[arg-type]
        rest = {name.rpartition(".")[0] for name, _ in self.inner.named_parameters()}
        if lone := [name for name in rest if not isinstance(self.inner.get_submodule(name), StackedLinear)]:
            raise StackingError(f"the network's {lone[0] or 'weights'} is no linear layer")
        self.adopt(networks)

    @torch.no_grad()
    def adopt(self, networks: Sequence[nn.Module]) -> None:
        """Take over the networks' weights, which become views into this module's."""
        for index, network in enumerate(networks):
            for name, weight in network.named_parameters():
                own = self.inner.get_parameter(name)[index]
                own.copy_(weight)
                weight.data = own.data

    def forward(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """Average velocities ``(B * n, *shape)`` for interleaved times ``(B * n,)`` and states ``(B * n, *shape)``.

        Raises:
            StackingError: if the samples cannot be shared out evenly.
        """
        if len(x) % self.count:
            raise StackingError(f"{len(x)} samples are not the same number for each of {self.count} networks")
        s, t, x = (value.unflatten(0, (-1, self.count)).transpose(0, 1).flatten(0, 1) for value in (s, t, x))
        return self.inner(s, t, x).unflatten(0, (self.count, -1)).transpose(0, 1).flatten(0, 1)
