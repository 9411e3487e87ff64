"""Time embeddings of a two-timed network."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from ttfm.flow import labels
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
        # On the CPU wherever the network is built: planning builds it on no device, where this would import a compiler.
        count = torch.arange(1, frequencies + 1, dtype=torch.float32, device="cpu")
        self.register_buffer("omega", math.pi * count, persistent=False)
        features = 2 * frequencies + 1
        self.start = Linear(features, width)
        self.gap = Linear(features, width, bias=False)
        nn.init.zeros_(self.gap.weight)

    def forward(self, s: Tensor, t: Tensor) -> Tensor:
        """Embed times s <= t of shape ``(B,)`` into shape ``(B, width)``."""
        # Eight bits do not tell times apart that lie closer than 1/256.
        kind = s.device.type
        lowered = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        with torch.autocast(kind, enabled=False) if lowered else nullcontext():
            return self._embed(s, t)

    def _embed(self, s: Tensor, t: Tensor) -> Tensor:
        frequencies = self.omega[:, None]
        angle = linear(s[:, None], frequencies)
        start = self.start(torch.cat([s[:, None], angle.sin(), angle.cos()], dim=1))
        if s is t and not (torch.is_grad_enabled() and self.gap.weight.requires_grad):
            # A velocity is asked for: the gap adds zero. Where it is trained, its gradient of zero is one all the same.
            return start
        d = (t - s)[:, None]
        turn = linear(d, frequencies)
        return start + self.gap(torch.cat([d, turn.sin(), 1 - turn.cos()], dim=1))


class LabelEmbedding(nn.Module):
    """One learned vector per class and one for the null class, for the labels bound by :mod:`ttfm.flow.labels`.

    Args:
        classes: number of classes, at least 1; the number itself is the null class.
        width: size of the embedding.
    """

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.classes = classes
        self.table = nn.Embedding(classes + 1, width)
        # Small beside the times' embedding, as in DiT (arXiv 2212.09748).
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, count: int) -> Tensor:
        """Embeddings ``(count, width)`` of the labels bound; of the null class where none are.

        Raises:
            ttfm.flow.labels.LabelsError: if labels are bound for another number of samples.
        """
        found = labels.current(count)
        if found is None:
            return self.table.weight[-1].expand(count, -1)
        return self.table(found.to(self.table.weight.device))


def classes_of(network: nn.Module) -> int:
    """Number of classes that a network, or one wrapped by a loss, tells apart; 0: none."""
    return next((module.classes for module in network.modules() if isinstance(module, LabelEmbedding)), 0)
