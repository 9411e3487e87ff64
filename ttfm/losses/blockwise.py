"""Blockwise flow matching: one network per segment of time."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ttfm.flow.labels import rows
from ttfm.losses.base import Variant, register
from ttfm.losses.fm import FlowMatching
from ttfm.options import Range


class Segments(nn.Module):
    """A network per equal segment of time, each asked only for start times s in its own segment.

    Args:
        network: what every segment starts from, called as ``network(s, t, x)``.
        count: number of segments.
    """

    def __init__(self, network: nn.Module, count: int):
        super().__init__()
        self.blocks = nn.ModuleList(copy.deepcopy(network) for _ in range(count))

    def forward(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """Average velocities ``(B, *shape)`` for times ``(B,)`` and states ``(B, *shape)``."""
        which = (s * len(self.blocks)).long().clamp(0, len(self.blocks) - 1)
        # Sorted by segment, each block sees its own samples only; the order is restored at the end.
        order = which.argsort(stable=True)
        sizes = which.bincount(minlength=len(self.blocks)).tolist()
        parts = zip(self.blocks, order.split(sizes), strict=True)
        output = torch.cat([_ask(block, part, s, t, x) for block, part in parts if len(part)])
        return output[order.argsort()]


def _ask(block: nn.Module, part: Tensor, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
    with rows(part):
        return block(s[part], t[part], x[part])


@register
@dataclass(frozen=True)
class BlockwiseFlowMatching(FlowMatching):
    r"""Blockwise flow matching (Park et al., arXiv 2510.21167): flow matching with its own network on every segment.

    .. math:: \sum_b E_{t \in [b/n, (b+1)/n)} \| u_{\theta_b}(t,t,x_t) - (x_1 - x_0) \|^2

    Every block learns the velocity on its segment alone. The source's blocks are small transformers, guided by features
    of a pretrained encoder; here each is a whole copy of the problem's network, so that one evaluation costs what it
    costs every other loss and the parameters grow with the segments, and there is no feature guidance.

    Source's symbols: its velocity blocks on temporal segments are :math:`u_{\theta_b}` on [b/n, (b+1)/n) here.

    Cost: F+B.

    What goes wrong: each block sees its share of the batch alone, so that it learns more slowly than one network would;
    nothing makes neighbours agree where their segments meet; fewer steps than segments leave some blocks unasked.

    Attributes:
        segments: number n of segments (source: 6).
    """

    segments: Annotated[int, Range(2)] = 4

    name = "blockwise"
    title = "Blockwise flow matching"
    source = "arXiv 2510.21167 (without feature guidance)"
    starts_from_teacher = True
    variants = (Variant(),)

    def wrap(self, network: nn.Module, shape: tuple[int, ...], schedules: dict[int, Tensor] | None = None) -> nn.Module:
        """The segments, all starting from ``network``."""
        return Segments(network, self.segments)
