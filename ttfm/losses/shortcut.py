"""Shortcut models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.losses.base import Batch, Variant, register
from ttfm.losses.self_distillation import SemigroupDistillation
from ttfm.options import Decay, Range


@register
@dataclass(frozen=True)
class Shortcut(SemigroupDistillation):
    r"""Shortcut models (Frans et al., arXiv 2410.12557, eq. 5 and section 3.2).

    .. math:: u_\theta(s, s+2h, x_s) \to \tfrac12 [u^-(s,s+h,x_s) + u^-(s+h,s+2h,\phi^-_{s,x_s}(s+h))]

    on dyadic intervals, 2h = 1, 1/2, ..., 2 / M and s a multiple of 2h, for one part of the batch, and flow matching
    for the rest. As in the source, the finest half steps h = 1/M are Euler steps of the diagonal, and the loss is the
    mean over the whole batch, so that a term's weight is its share of it. ttfm's own: flow matching at any time in
    place of multiples of 1/M.

    Source's symbols: its shortcut s(x, t, d) is u(t, t + d, x) here; times are the same.

    Cost: F+B on the whole batch, 2F on the bootstrapped part.

    What goes wrong: only dyadic steps are learned, and the longest is log2(M) bootstraps away from the data.

    Attributes:
        diagonal: fraction of the batch for flow matching (source's code: all but 1/8, in some settings 3/4).
        mu: EMA decay of the network that makes the two half steps (source: 0.999).
        finest: log2 of M, the number of the finest half steps in [0, 1] (source: 7, M = 128).
    """

    diagonal: Annotated[float, Range(0, 1, open_="both")] = 0.875
    mu: Decay = 0.999
    finest: Annotated[int, Range(1, 20)] = 7

    name = "shortcut"
    title = "Shortcut model"
    source = "arXiv 2410.12557, eq. 5"
    variants = (Variant(residual=1e-4, mixture=5e-4),)

    @property
    def weights(self) -> dict[str, float]:
        """Every sample counts the same: a term's weight is its share of the batch."""
        return {"diagonal": self.diagonal, "semigroup": 1 - self.diagonal}

    def unserved(self, steps: int) -> str:
        """Steps of other lengths than 1, 1/2, ..., 2^-``finest`` are never trained."""
        if steps & (steps - 1) == 0 and steps <= 2**self.finest:
            return ""
        return f"steps of length 1/{steps} are never trained: give powers of two up to 2^finest = {2**self.finest}"

    def _jump(self, off: Batch, target: FlowMap) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        level = (off.uniform() * self.finest).floor().clamp(max=self.finest - 1)
        intervals = 2**level
        s = (off.single_time() * intervals).floor().clamp(max=intervals - 1) / intervals
        half = 0.5 / intervals
        middle, t = s + half, s + 2 * half
        x = off.at(s)
        # The finest half steps are those of the velocity, which flow matching learns.
        reach = torch.where(level == self.finest - 1, 0.0, half)
        first = target.average_velocity(s, s + reach, x)
        second = target.average_velocity(middle, middle + reach, x + expand(half, x) * first)
        return s, t, x, (first + second) / 2
