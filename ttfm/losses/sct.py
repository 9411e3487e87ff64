"""Continuous-time consistency training."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ttfm.flow.interpolant import conditional_velocity
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Variant, register
from ttfm.losses.scd import ContinuousConsistencyDistillation


@register
@dataclass(frozen=True)
class ContinuousConsistencyTraining(ContinuousConsistencyDistillation):
    r"""sCT, continuous-time consistency training (Lu & Song, arXiv 2410.11081, algorithm 1).

    ``scd`` with the velocity of the sample in place of the teacher's, in both places where it stands:

    .. math:: \| \rho \, u_\theta - \mathrm{sg}[\rho \, u - \bar g] \|^2, \quad v = x_1 - x_0,

    with rho and the normalised tangent of ``scd``. That is unbiased before the tangent is normalised, since g is linear
    in v. As in the source the student starts from the teacher's weights. The options are those of ``scd``.

    Source's symbols: those of ``scd``.

    Cost: J+F+B.

    What goes wrong: all that goes wrong with ``scd``, above all divergence without normalisation and warm-up; and the
    normalisation, the source's own, biases the tangent's mean where a single sample's velocity is noisy.
    """

    name = "sct"
    title = "sCT"
    source = "arXiv 2410.11081, translated to the linear path; ttfm's network, no learned weight of times"
    needs_teacher = False
    starts_from_teacher = True
    conditional = True
    variants = (
        Variant({"normalise": False}, progress=0.5),
        Variant(mixture=1e-4, progress=0.5),
        Variant({"warmup": 0.0}, mixture=1e-4),
    )

    def _velocity(self, batch: Batch, s: Tensor, x: Tensor, teacher: Field | None) -> Tensor:
        return conditional_velocity(batch.x0, batch.x1)
