"""The precision in which a network is evaluated; everything around it stays in that of the states."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16"]


def evaluate(network: nn.Module, s: Tensor, t: Tensor, x: Tensor, precision: Precision = "float32") -> Tensor:
    """u(s, t, x) of ``network``, in the dtype of ``x`` whatever the network computed in.

    Args:
        network: module called as ``network(s, t, x)``.
        s: start times, ``(B,)``.
        t: end times, ``(B,)``.
        x: states, ``(B, *shape)``.
        precision: "float32" calls the network as it is; "bfloat16" under autocast.
    """
    if precision == "float32":
        return network(s, t, x)
    # One context per call. It keeps the weights' casts until it ends: one made without gradients, for a target say,
    # would else serve a later call too and keep the gradient from the weight.
    with torch.autocast(x.device.type, torch.bfloat16):
        output = network(s, t, x)
    return output.to(x.dtype)
