"""The precision in which a network is evaluated; everything around it stays in that of the states."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16", "auto"]
BFLOAT16_PRODUCTS = ("amx_bf16", "avx512_bf16", "bf16")
"""Instructions of processors, x86 and ARM, for products of bfloat16 numbers; without them bfloat16 is slower."""


@cache
def fastest(device: str) -> Precision:
    """What "auto" stands for: "bfloat16" on a GPU and on a CPU with instructions for it, else "float32".

    Args:
        device: "cpu" or "cuda".
    """
    if device != "cpu":
        return "bfloat16"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if any(able.get(name) for name in BFLOAT16_PRODUCTS) else "float32"


def evaluate(network: nn.Module, s: Tensor, t: Tensor, x: Tensor, precision: Precision = "float32") -> Tensor:
    """u(s, t, x) of ``network``, in the dtype of ``x`` whatever the network computed in.

    Args:
        network: module called as ``network(s, t, x)``.
        s: start times, ``(B,)``.
        t: end times, ``(B,)``.
        x: states, ``(B, *shape)``.
        precision: "float32" calls the network as it is; "bfloat16" under autocast; "auto" is :func:`fastest`'s choice.
    """
    if precision == "auto":
        precision = fastest(x.device.type)
    if precision == "float32":
        return network(s, t, x)
    # One context per call. It keeps the weights' casts until it ends: one made without gradients, for a target say,
    # would else serve a later call too and keep the gradient from the weight.
    with torch.autocast(x.device.type, torch.bfloat16):
        output = network(s, t, x)
    return output.to(x.dtype)
