"""Time embeddings of a two-timed network."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from ttfm.networks.dual import Linear, linear


class TimeEmbedding(nn.Module):
    r"""Embed s, and separately d = t - s through a branch that starts at zero and vanishes at d = 0.

    The features of s are s, sin and cos of a few low frequencies. The features of d are d, sin(w d) and 1 - cos(w d):
    all vanish at d = 0, so training on the diagonal never moves the branch (its gradient is exactly zero there), and
    its weight starts at zero. A network that embeds its times in this way therefore satisfies u(s, t, x) = v_s(x) for
    all t after a velocity has been learned on the diagonal. Frequencies are low on purpose: tangents of the loss's
    Jacobian-vector products scale with them.

    Args:
        width: size of the embedding.
        frequencies: number of frequencies pi, 2 pi, ..., frequencies * pi.
    """

    omega: Tensor

    def __init__(self, width: int, frequencies: int = 4):
        super().__init__()
        self.register_buffer("omega", math.pi * torch.arange(1, frequencies + 1, dtype=torch.float32), persistent=False)
        features = 2 * frequencies + 1
        self.start = Linear(features, width)
        self.gap = Linear(features, width, bias=False)
        nn.init.zeros_(self.gap.weight)

    def forward(self, s: Tensor, t: Tensor) -> Tensor:
        """Embed times s <= t of shape ``(B,)`` into shape ``(B, width)``."""
        # Eight bits do not tell times apart that lie closer than 1/256.
        with (
            torch.autocast(s.device.type, enabled=False) if torch.is_autocast_enabled(s.device.type) else nullcontext()
        ):
            return self._embed(s, t)

    def _embed(self, s: Tensor, t: Tensor) -> Tensor:
        s, d = s[:, None], (t - s)[:, None]
        frequencies = self.omega[:, None]
        angle, turn = linear(s, frequencies), linear(d, frequencies)
        start = torch.cat([s, angle.sin(), angle.cos()], dim=1)
        gap = torch.cat([d, turn.sin(), 1 - turn.cos()], dim=1)
        return self.start(start) + self.gap(gap)
