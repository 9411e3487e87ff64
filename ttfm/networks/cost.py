"""What a network costs: its parameters, and the operations of one evaluation."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameter_count(network: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def forward_flops(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Floating-point operations of one evaluation of one sample, a multiplication and an addition being two.

    Counted by torch: convolutions, linear layers and attention; norms and activations are not.

    Args:
        network: called as ``network(s, t, x)``; on the device "meta" nothing is computed.
        shape: shape of one state.
    """
    weight = next(network.parameters())
    time, x = weight.new_zeros(1), weight.new_zeros(1, *shape)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    # The counter stumbles over a view of a weight that could have a gradient, such as the null class's vector.
    network.requires_grad_(False)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            # Two times: a velocity, asked for by one, costs less.
            network(time, time.clone(), x)
    finally:
        for weight in trained:
            weight.requires_grad_(True)
    return counter.get_total_flops()


def shown(number: float) -> str:
    """Three digits with M or G, as in 35.7 M."""
    unit, name = (1e9, "G") if number >= 1e9 else (1e6, "M")
    value = number / unit
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f} {name}"
