"""A plain multilayer perceptron for low-dimensional points."""

from __future__ import annotations

from torch import Tensor, nn

from ttfm.networks.dual import Linear
from ttfm.networks.embeddings import TimeEmbedding
from ttfm.options import Count


class MLP(nn.Module):
    """u(s, t, x) for points: ``depth`` hidden SiLU layers of ``width`` units; times enter the first layer additively.

    Args:
        shape: shape of one state, ``(D,)``.
        width: hidden units per layer.
        depth: number of hidden layers, at least 1.
    """

    kind = "points"

    def __init__(self, shape: tuple[int, ...], width: Count = 128, depth: Count = 3):
        super().__init__()
        (dimension,) = shape
        self.time = TimeEmbedding(width)
        self.first = Linear(dimension, width, bias=False)
        self.hidden = nn.ModuleList(Linear(width, width) for _ in range(depth - 1))
        self.last = Linear(width, dimension)

    @property
    def features(self) -> nn.Module:
        """The module that puts out the hidden features: the last hidden layer before its activation."""
        return self.hidden[-1] if self.hidden else self.first

    def forward(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """Average velocities ``(B, D)`` for times ``(B,)`` and states ``(B, D)``."""
        h = nn.functional.silu(self.first(x) + self.time(s, t))
        for layer in self.hidden:
            h = nn.functional.silu(layer(h))
        return self.last(h)
