"""A small residual U-Net for images."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from ttfm.networks.attention import SpatialAttention
from ttfm.networks.dual import Conv2d, Linear
from ttfm.networks.embeddings import LabelEmbedding, TimeEmbedding
from ttfm.options import Count, Range


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm, shifted and scaled by the time embedding; the last starts at zero."""

    def __init__(self, channels_in: int, channels: int, embedding: int, groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in)
        self.conv1 = Conv2d(channels_in, channels, 3, padding=1)
        self.modulation = Linear(embedding, 2 * channels)
        self.norm2 = nn.GroupNorm(groups, channels)
        self.conv2 = Conv2d(channels, channels, 3, padding=1)
        self.skip = Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """``(B, channels_in, H, W)`` and an embedding ``(B, E)`` to ``(B, channels, H, W)``."""
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(nn.functional.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(nn.functional.silu(h))


class Attentive(nn.Module):
    """A residual block followed by self-attention over its positions."""

    def __init__(self, block: ResidualBlock, channels: int, heads: int, groups: int):
        super().__init__()
        self.block = block
        self.attention = SpatialAttention(channels, heads, groups)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """As its residual block."""
        return self.attention(self.block(x, embedding))


class UNet(nn.Module):
    """u(s, t, x) for images: residual blocks on a pyramid of resolutions with skip connections, after Ho et al.
    (arXiv 2006.11239).

    Args:
        shape: shape of one image, ``(C, H, W)``; H and W divisible by ``patch * 2^(len(multipliers) - 1)``.
        channels: channels at the first level.
        multipliers: channels of each level as a multiple of ``channels``; every level halves the resolution.
        blocks: residual blocks per level on the way down, and as many on the way up.
        patch: side of the square patches that the first convolution turns into one position.
        embedding: width of the time embedding.
        groups: groups of every group norm.
        attention: sides of the images, after the patch, at which every residual block is followed by self-attention;
            where there is any, the middle has it too (as in DDPM++, arXiv 2011.13456: [16] for 32 x 32 images).
        heads: attention heads.
        frequencies: number of frequencies pi, 2 pi, ... by which times are embedded.
        classes: number of classes that a sample's label may name; 0: none.

    Raises:
        ValueError: if the image's sides cannot be halved that often, or the channels not divided into the groups.
    """

    kind = "images"

    def __init__(
        self,
        shape: tuple[int, ...],
        channels: Count = 32,
        multipliers: list[Count] = [1, 2],  # noqa: B006 - read only; a list is what YAML gives
        blocks: Count = 1,
        patch: Count = 1,
        embedding: Count = 128,
        groups: Annotated[int, Range(1)] = 8,
        attention: list[Count] = [],  # noqa: B006
        heads: Count = 4,
        frequencies: Count = 4,
        classes: Annotated[int, Range(0)] = 0,
    ):
        super().__init__()
        colours, height, width = shape
        if not multipliers:
            raise ValueError("multipliers: at least one level is needed")
        coarsest = patch * 2 ** (len(multipliers) - 1)
        if height % coarsest or width % coarsest:
            raise ValueError(f"multipliers, patch: {height}x{width} images cannot be divided by {coarsest}")
        if any(channels * m % groups for m in [1, *multipliers]):
            raise ValueError(
                f"channels, groups: {channels} channels times {multipliers} cannot be divided by {groups} groups"
            )
        self.times = TimeEmbedding(embedding, frequencies)
        self.labels = LabelEmbedding(classes, embedding) if classes else None
        self.embed = nn.Sequential(nn.SiLU(), Linear(embedding, embedding), nn.SiLU())
        self.stem = Conv2d(colours, channels, 3, padding=1) if patch == 1 else Conv2d(colours, channels, patch, patch)
        sizes = [channels * m for m in multipliers]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, now, side = [channels], channels, height // patch

        def block(channels_in: int, size: int, level: int) -> nn.Module:
            residual = ResidualBlock(channels_in, size, embedding, groups)
            return Attentive(residual, size, heads, groups) if side // 2**level in attention else residual

        for level, size in enumerate(sizes):
            for _ in range(blocks):
                self.down.append(block(now, size, level))
                now = size
                skips.append(now)
            if level < len(sizes) - 1:
                self.down.append(Conv2d(now, now, 3, stride=2, padding=1))
                skips.append(now)
        middle = ResidualBlock(now, now, embedding, groups)
        self.middle = Attentive(middle, now, heads, groups) if attention else middle
        for level, size in reversed(list(enumerate(sizes))):
            for _ in range(blocks + 1):
                self.up.append(block(now + skips.pop(), size, level))
                now = size
            if level:
                self.up.append(nn.Sequential(nn.Upsample(scale_factor=2), Conv2d(now, now, 3, padding=1)))
        self.norm = nn.GroupNorm(groups, now)
        self.head = Conv2d(now, colours * patch**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(patch)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    @property
    def features(self) -> nn.Module:
        """The module that puts out the hidden features: the block at the coarsest resolution."""
        return self.middle

    def forward(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """Average velocities ``(B, C, H, W)`` for times ``(B,)`` and images ``(B, C, H, W)``."""
        embedding = self.times(s, t)
        if self.labels is not None:
            embedding = embedding + self.labels(len(x))
        embedding = self.embed(embedding)
        h = self.stem(x)
        skips = [h]
        for module in self.down:
            h = module(h, embedding) if isinstance(module, ResidualBlock | Attentive) else module(h)
            skips.append(h)
        h = self.middle(h, embedding)
        for module in self.up:
            if isinstance(module, ResidualBlock | Attentive):
                h = module(torch.cat([h, skips.pop()], dim=1), embedding)
            else:
                h = module(h)
        return self.shuffle(self.head(nn.functional.silu(self.norm(h))))
