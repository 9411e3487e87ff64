"""Layers whose forward-mode derivative does no more work than it must, and is right.

torch's own forward-mode rules also propagate the tangents of weight and bias, as zeros, where these have none: a third
convolution with a zero weight for every convolution, and slow additions of zeros for every linear layer. The layers
here have the same values, gradients and tangents (tested against torch's), in less time under forward mode, and are
torch's own layers otherwise. Their parameters must not carry tangents themselves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from ttfm.networks.products import product, product_gradients

EPSILON = 1e-6
"""Added to a variance before its root is taken."""


def has_tangent(x: Tensor) -> bool:
    """Whether ``x`` carries a forward-mode tangent; a network is never compiled for those."""
    return not torch.compiler.is_compiling() and forward_ad.unpack_dual(x).tangent is not None


class _LinearOfDual(torch.autograd.Function):
    """x W^T + b where only x carries a tangent; differentiable again in x and W by reverse mode."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return product(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        return product_gradients(gradients[0], x, weight, ctx.needs_input_grad)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        tangent = tangents[0]
        assert tangent is not None
        _, weight = ctx.saved_tensors
        return product(tangent, weight, None)


class _ConvolutionOfDual(torch.autograd.Function):
    """A two-dimensional convolution where only the image carries a tangent; differentiable again by reverse mode."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any) -> Tensor:
        return nn.functional.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, ctx.stride, ctx.padding = inputs
        ctx.bias_sizes = None if bias is None else list(bias.shape)
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        geometry = (ctx.bias_sizes, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1)
        wanted = list(ctx.needs_input_grad[:3])
        return (*torch.ops.aten.convolution_backward(gradients[0], x, weight, *geometry, wanted), None, None)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        tangent = tangents[0]
        assert tangent is not None
        _, weight = ctx.saved_tensors
        return nn.functional.conv2d(tangent, weight, None, ctx.stride, ctx.padding)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear`` for ``x`` of shape ``(..., in)``, whether or not x carries a tangent."""
    if not has_tangent(x):
        return product(x, weight, bias)
    return _LinearOfDual.apply(x.reshape(-1, x.shape[-1]), weight, bias).reshape(*x.shape[:-1], len(weight))


def batched_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Several linear layers at once: ``x`` ``(n, B, in)``, weights ``(n, out, in)`` and biases ``(n, out)``."""
    return (_LinearOfDual.apply if has_tangent(x) else product)(x, weight, bias)


class Linear(nn.Linear):
    """``torch.nn.Linear``."""

    def forward(self, input: Tensor) -> Tensor:
        """``(..., in)`` to ``(..., out)``."""
        return linear(input, self.weight, self.bias)


class Conv2d(nn.Conv2d):
    """``torch.nn.Conv2d`` with zero padding, no dilation and one group."""

    def forward(self, input: Tensor) -> Tensor:
        """``(B, in, H, W)`` to ``(B, out, H', W')``."""
        if has_tangent(input):
            return _ConvolutionOfDual.apply(input, self.weight, self.bias, self.stride, self.padding)
        return super().forward(input)


class LayerNorm(nn.Module):
    """Layer norm over the last axis without weights, written out where a tangent is carried.

    There the gradient of torch's own layer norm, by reverse mode through forward mode, is wrong (torch 2.15; a test
    against central differences finds it).
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width)`` to the same shape."""
        if not has_tangent(x):
            return nn.functional.layer_norm(x, x.shape[-1:], eps=EPSILON)
        centred = x - x.mean(-1, keepdim=True)
        return centred * (centred.square().mean(-1, keepdim=True) + EPSILON).rsqrt()
