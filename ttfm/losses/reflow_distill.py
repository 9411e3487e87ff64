"""The k-step distillation of a rectified flow."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ttfm.losses.base import Batch, Variant, register
from ttfm.losses.reflow import Reflow
from ttfm.options import Count


@register
@dataclass(frozen=True)
class ReflowDistillation(Reflow):
    r"""k-step distillation of a flow on its pairs (Liu et al., arXiv 2209.03003, and the authors' code).

    .. math:: E \| u_\theta(s, s, x_s) - (x_1 - x_0) \|^2, \quad s \in \{0, 1/k, \dots, (k-1)/k\}

    ``reflow`` at the times alone at which k Euler steps ask for a velocity. At s = 0 this is direct distillation of the
    map, x_0 + u(0, 0, x_0) -> x_1, as the pair determines x_1. Sampling is Euler's with any number of steps that
    divides k; other numbers ask for times that were never trained, hence the default of 8 for 1, 2, 4 and 8 steps. The
    source distils with k = 1 mostly, and there with LPIPS.

    Source's symbols: its pairs (Z_0, Z_1) are (x_0, x_1), its v(x, t) is u(t, t, x); times and k are the same.

    Cost: F+B; the pairs are paid once.

    What goes wrong: few pairs are overfitted, and where nearby noise ends far apart a squared error puts the sample
    between the ends.

    Attributes:
        k: number of Euler steps.
    """

    k: Count = 8

    name = "reflow_distill"
    title = "Reflow distillation"
    # As of reflow, the mean over its k times: 0.241 and 0.71; at s = 0 alone 2 c^2 = 0.18 and 1.06.
    variants = (Variant(residual=0.29, mixture=0.85), Variant({"k": 1}, residual=0.22, mixture=1.27))

    def unserved(self, steps: int) -> str:
        """Other times than the k that are trained are asked for by numbers of steps that do not divide k."""
        if self.k % steps == 0:
            return ""
        return f"options.k: {self.k} times are trained and {steps} steps ask for others; give a multiple of {steps}"

    def _time(self, batch: Batch) -> Tensor:
        return (batch.uniform() * self.k).floor().clamp(max=self.k - 1) / self.k
