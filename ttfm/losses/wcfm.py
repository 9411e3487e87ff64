"""Weighted conditional flow matching."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ttfm.losses.base import Variant, register, squared_norm
from ttfm.losses.fm import FlowMatching
from ttfm.options import Positive


@register
@dataclass(frozen=True)
class WeightedFlowMatching(FlowMatching):
    r"""Weighted conditional flow matching (W-CFM, arXiv 2507.22270).

    .. math:: E \, \bar w \, \| u_\theta(t,t,x_t) - (x_1 - x_0) \|^2, \quad w = \exp(-\|x_1 - x_0\| / \epsilon)

    with weights normalised to a mean of one within groups of the batch: pairs that lie close count more, as in an
    entropic optimal transport plan, without solving one. The normalisation within groups is ttfm's choice.

    Source's symbols: its pair (x, y) is (x_0, x_1), its Gibbs kernel is w here.

    Cost: F+B.

    What goes wrong: small :math:`\epsilon` straightens the paths, and moves the marginals that the flow connects away
    from noise and data: that bias is the method's known price.

    Attributes:
        epsilon: temperature of the Gibbs weight, in units of distance times the root of the dimension, so that one
            value suits all problems.
        group: samples whose weights have a mean of one; the batch is cut into such groups.
    """

    epsilon: Positive = 1.0

    name = "wcfm"
    title = "Weighted flow matching"
    source = "arXiv 2507.22270"
    # The weights tilt the coupling: only in the limit is the velocity of the independent one its minimiser.
    variants = (Variant({"epsilon": 1e6}), Variant(residual=math.inf, mixture=math.inf))

    def weight(self, x0: Tensor, x1: Tensor) -> Tensor | None:
        """Gibbs weights, shape ``(B,)``, of mean one in each group."""
        distance = squared_norm(x1 - x0).sqrt() / math.sqrt(x0[0].numel())
        return torch.cat([part.softmax(dim=0) * len(part) for part in (-distance / self.epsilon).split(self.group)])
