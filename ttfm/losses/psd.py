"""Progressive self-distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.losses.base import Batch, Variant, register
from ttfm.losses.self_distillation import SemigroupDistillation, semigroup_average


@register
@dataclass(frozen=True)
class PSD(SemigroupDistillation):
    r"""Progressive self-distillation (Boffi et al., arXiv 2505.18825, eq. 15 in the form of eq. 22).

    .. math:: E \| u_\theta(t,t,x_t) - (x_1 - x_0) \|^2 +
              E \| u_\theta(s,t,x_s) - \mathrm{sg}[(1-\gamma) u(s,r,x_s) + \gamma u(r,t,\phi_{s,x_s}(r))] \|^2,
              \quad r = \gamma s + (1-\gamma) t

    The source also learns a weight of each (s, t), left out here.

    Source's symbols: its v is u and its intermediate time u is r here; times and gamma are the same.

    Cost: F+B on the whole batch and 2F on the part off the diagonal; no derivatives.

    What goes wrong: errors of short jumps add up in long ones, since only the diagonal ever sees data.

    Attributes:
        diagonal: fraction of the batch on the diagonal (source: 0.75).
        mu: EMA decay of the network that makes the two jumps (source: 0, a stop-gradient copy).
        intermediate: "midpoint", gamma = 1/2 (the source's PSD-M), or "uniform", gamma ~ U(0, 1) (PSD-U).
    """

    intermediate: Literal["midpoint", "uniform"] = "midpoint"

    name = "psd"
    title = "PSD"
    source = "arXiv 2505.18825, eq. 15 and 22, without its learned weight"
    variants = (Variant(), Variant({"intermediate": "uniform"}))

    def _jump(self, off: Batch, target: FlowMap) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        s, t, x = off.s, off.t, off.at(off.s)
        fraction = 1 - off.uniform() if self.intermediate == "uniform" else torch.full_like(s, 0.5)
        return s, t, x, semigroup_average(target, s, t, x, fraction)
