"""A diffusion transformer with two times."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from ttfm.networks.attention import SelfAttention
from ttfm.networks.dual import Conv2d, LayerNorm, Linear
from ttfm.networks.embeddings import LabelEmbedding, TimeEmbedding
from ttfm.options import Count, Range


class Block(nn.Module):
    """Attention and a perceptron, each shifted, scaled and gated by the embedding; gates start at zero."""

    def __init__(self, width: int, heads: int, ratio: int):
        super().__init__()
        self.norm = LayerNorm()
        self.attention = SelfAttention(width, heads)
        self.first, self.last = Linear(width, ratio * width), Linear(ratio * width, width)
        self.modulation = Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Tokens ``(B, N, width)`` and an embedding ``(B, width)`` to tokens."""
        changes = self.modulation(embedding)[:, None].chunk(6, dim=-1)
        shift, scale, gate, shift2, scale2, gate2 = changes
        x = x + gate * self.attention(self.norm(x) * (1 + scale) + shift)
        h = nn.functional.gelu(self.first(self.norm(x) * (1 + scale2) + shift2), approximate="tanh")
        return x + gate2 * self.last(h)


class DiT(nn.Module):
    """u(s, t, x) for images: the diffusion transformer (Peebles & Xie, arXiv 2212.09748) of two times.

    Patches become tokens with a fixed sine-cosine position; blocks are modulated by the times (adaLN-zero), queries and
    keys are RMS-normed, and the output layer starts at zero. The source's sizes on 256 x 256 latents: S 384/12/6,
    B 768/12/12, L 1024/24/16 (width/depth/heads).

    Args:
        shape: shape of one image, ``(C, H, W)``; H and W divisible by ``patch``.
        width: channels of a token; a multiple of 4 and of ``heads``.
        depth: number of blocks.
        heads: attention heads.
        patch: side of the square patches.
        ratio: hidden units of a block's perceptron as a multiple of ``width``.
        frequencies: number of frequencies pi, 2 pi, ... by which times are embedded.
        classes: number of classes that a sample's label may name; 0: none.

    Raises:
        ValueError: if the patch does not divide the image, or the heads do not divide the width.
    """

    kind = "images"

    def __init__(
        self,
        shape: tuple[int, ...],
        width: Annotated[int, Range(4, multiple_of=4)] = 384,
        depth: Count = 12,
        heads: Count = 6,
        patch: Count = 2,
        ratio: Count = 4,
        frequencies: Count = 4,
        classes: Annotated[int, Range(0)] = 0,
    ):
        super().__init__()
        colours, height, wide = shape
        if height % patch or wide % patch:
            raise ValueError(f"patch: {height}x{wide} images cannot be divided into patches of {patch}x{patch}")
        self.patch = Conv2d(colours, width, patch, patch)
        self.register_buffer("position", positions(height // patch, wide // patch, width), persistent=False)
        self.times = TimeEmbedding(width, frequencies)
        self.labels = LabelEmbedding(classes, width) if classes else None
        self.embed = nn.Sequential(nn.SiLU(), Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(Block(width, heads, ratio) for _ in range(depth))
        self.norm = LayerNorm()
        self.modulation = Linear(width, 2 * width)
        self.head = Linear(width, colours * patch**2)
        self.shuffle = nn.PixelShuffle(patch)
        for layer in (self.modulation, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    position: Tensor

    @property
    def features(self) -> nn.Module:
        """The module that puts out the hidden features: the block in the middle, tokens ``(B, N, width)``."""
        return self.blocks[len(self.blocks) // 2]

    def forward(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """Average velocities ``(B, C, H, W)`` for times ``(B,)`` and images ``(B, C, H, W)``."""
        embedding = self.times(s, t)
        if self.labels is not None:
            embedding = embedding + self.labels(len(x))
        embedding = self.embed(embedding)
        patches = self.patch(x)
        tokens = patches.flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            tokens = block(tokens, embedding)
        shift, scale = self.modulation(embedding)[:, None].chunk(2, dim=-1)
        output = self.head(self.norm(tokens) * (1 + scale) + shift)
        return self.shuffle(output.transpose(1, 2).reshape(len(x), -1, *patches.shape[2:]))


def positions(rows: int, columns: int, width: int) -> Tensor:
    """Sine-cosine embeddings of the places of a grid, shape ``(rows * columns, width)``; half of the width per axis."""
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(width // 4) / (width // 4))

    def axis(count: int) -> Tensor:
        angle = torch.arange(count)[:, None] * frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    down = axis(rows)[:, None].expand(rows, columns, width // 2)
    across = axis(columns)[None].expand(rows, columns, width // 2)
    return torch.cat([down, across], dim=-1).reshape(rows * columns, width)
