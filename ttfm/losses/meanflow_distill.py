"""MeanFlow with a teacher's velocity."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, register
from ttfm.losses.meanflow import MeanFlow


@register
@dataclass(frozen=True)
class MeanFlowDistillation(MeanFlow):
    r"""MeanFlow with a teacher's velocity in both places (MF-RAE, arXiv 2511.13019; AYF-EMD, arXiv 2506.14603).

    .. math:: u_\theta(s,t,x_s) \to \mathrm{sg}[v_s(x_s) + (t-s)(\partial_s u + \nabla_x u \, v_s(x_s))]

    weighted as in ``meanflow`` (arXiv 2505.13447), whose identity and options it has.

    Source's symbols: noise at t = 1, as in ``meanflow`` and ``ayf_emd``: times t are 1-t here, u and v are -u and -v.

    Cost: J+F+B+V.

    What goes wrong: without a single sample's noise the weight moves no minimum, but what the teacher gets wrong is
    learned as well, and the target is right at t first and must travel back to s = 0 through the Jacobian: one step
    from noise is learned last.
    """

    name = "meanflow_distill"
    title = "MeanFlow distillation"
    source = "arXiv 2511.13019; arXiv 2506.14603; the identity of arXiv 2505.13447"
    needs_teacher = True
    conditional = False

    def _velocity(self, batch: Batch, x: Tensor, teacher: Field | None) -> Tensor:
        assert teacher is not None
        return teacher(batch.s, x)
