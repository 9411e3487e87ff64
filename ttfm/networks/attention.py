"""Self-attention with RMS-normed queries and keys, over tokens or over the positions of an image."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ttfm.networks.dual import Linear, has_tangent


class SelfAttention(nn.Module):
    """Multi-head self-attention; queries and keys are normalised per head (arXiv 2302.05442; by root mean square as in
    arXiv 2403.03206), which bounds the logits.

    Args:
        width: channels of a token.
        heads: number of heads; divides ``width``.
        zero: whether the output layer starts at zero, so that a residual branch starts as the identity.

    Raises:
        ValueError: if the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, zero: bool = False):
        super().__init__()
        if width % heads:
            raise ValueError(f"heads: {width} channels cannot be divided into {heads} heads")
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.query_norm, self.key_norm = RMSNorm(width // heads), RMSNorm(width // heads)
        self.out = Linear(width, width)
        if zero:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(B, N, width)`` to tokens of the same shape."""
        size, count, width = x.shape
        q, k, v = self.qkv(x).reshape(size, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = attention(self.query_norm(q), self.key_norm(k), v)
        return self.out(attended.transpose(1, 2).reshape(size, count, width))


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention of ``(B, heads, N, width)``; torch's own, except where a tangent is carried.

    Fused kernels have no forward-mode derivative, and reverse mode through that of torch's softmax fails on a value
    overwritten in place (torch 2.15); written out, both can be had.
    """
    if not has_tangent(q):
        return nn.functional.scaled_dot_product_attention(q, k, v)
    logits = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = (logits - logits.amax(dim=-1, keepdim=True)).exp()
    return (weights @ v) / weights.sum(dim=-1, keepdim=True)


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis (Zhang & Sennrich, arXiv 1910.07467), composed of operations that have
    every derivative a loss may ask.

    Args:
        width: size of the last axis.
    """

    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width)`` to the same shape."""
        return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * self.scale


class SpatialAttention(nn.Module):
    """A residual block of self-attention over the positions of an image; starts as the identity.

    Args:
        channels: channels of the image.
        heads: number of heads; divides ``channels``.
        groups: groups of the norm before it.
    """

    def __init__(self, channels: int, heads: int, groups: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.attention = SelfAttention(channels, heads, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.attention(tokens).transpose(1, 2).reshape(x.shape)
