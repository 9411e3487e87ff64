"""Matrix products of linear layers by whichever of torch's two libraries for CPUs is the faster one.

torch multiplies float32 matrices with Intel's MKL, which has no AVX-512 kernels for processors of other makers and runs
there at half the speed of oneDNN, the library that torch's convolutions use anyway. The values are the same up to
rounding, and mostly to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

LEAST = 64
"""Least width, in and out. Gains were seen from 96 on, small ones there; at 2 the call cost more than it saved."""


@cache
def onednn_is_faster() -> bool:
    """Whether this CPU has AVX-512 and is not Intel's, and torch has oneDNN's product."""
    able = torch.cpu.get_capabilities()
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and bool(able.get("avx512_f"))
        and "intel" not in str(able.get("cpu_name", "intel")).lower()
    )


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product x W^T + b, differentiable by reverse mode any number of times.

    No argument may carry a forward-mode tangent.

    Args:
        x: ``(..., in)``; with n layers ``(n, B, in)``.
        weight: ``(out, in)``; of n layers at once ``(n, out, in)``.
        bias: ``(out,)`` or None; of n layers ``(n, out)``.

    Returns:
        ``(..., out)``; ``(n, B, out)``.
    """
    if not _suits(x, weight):
        if weight.ndim == 2:
            return nn.functional.linear(x, weight, bias)
        return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)
    factors = (x if weight.ndim == 3 else x.reshape(-1, x.shape[-1]), weight, bias)
    learned = torch.is_grad_enabled() and any(factor is not None and factor.requires_grad for factor in factors)
    found = _Product.apply(*factors) if learned else _onednn(*factors)
    return found if weight.ndim == 3 else found.unflatten(0, x.shape[:-1])


def product_gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of :func:`product` by x, weight and bias, those that are ``wanted``.

    Args:
        gradient: that of its value, a matrix or n of them.
        x: likewise.
        weight: as of :func:`product`.
        wanted: whether each of the three is.
    """
    return (
        product(gradient, weight.mT, None) if wanted[0] else None,
        product(gradient.mT, x.mT, None) if wanted[1] else None,
        gradient.sum(-2) if wanted[2] else None,
    )


def _suits(x: Tensor, weight: Tensor) -> bool:
    # torch's compiler has products of its own.
    return (
        not torch.compiler.is_compiling()
        and onednn_is_faster()
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and min(weight.shape[-2:]) >= LEAST
        and not torch.is_autocast_enabled("cpu")
    )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product x W^T + b of a matrix, or of n of them."""
    if weight.ndim == 2:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    biases = [None] * len(x) if bias is None else bias.unbind()
    return torch.stack([_onednn(*factors) for factors in zip(x.unbind(), weight.unbind(), biases, strict=True)])


class _Product(torch.autograd.Function):
    """oneDNN's product has no gradient of its own in torch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        return product_gradients(gradients[0], x, weight, ctx.needs_input_grad)
