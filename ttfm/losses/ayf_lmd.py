"""Align Your Flow: Lagrangian map distillation, discrete in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.solvers import Field
from ttfm.losses.ayf_emd import PLAIN, AlignYourFlow
from ttfm.losses.base import Batch, Variant, register
from ttfm.options import Range


@register
@dataclass(frozen=True)
class AYFLMD(AlignYourFlow):
    r"""AYF-LMD, the Lagrangian loss of Align Your Flow (Sabour et al., arXiv 2506.14603), with one Euler step.

    .. math:: \phi_\theta(t) \to \mathrm{sg}[\phi(t') + (t-t') v_{t'}(\phi(t'))], \quad t' = t - e (t-s)

    for the map from (s, x_s). Divided by e (t-s), it moves u along the tangent

    .. math:: g = v_{t'}(\phi(t')) - u(t') - a \, (u(t) - u(t')) / e
              \;\to\; v_t(\phi(t)) - u - a (t-s) \partial_t u \quad (e \to 0),

    whose limit for a = 1 is minus LFMD's residual: the loss is a semi-gradient of LFMD, without derivatives of the
    network. The source normalises the tangent and warms up the derivative of the Eulerian loss; that both are done here
    in the same way is ttfm's reconstruction.

    Source's symbols: noise at t = 1; its interval from t down to s is ours from 1-t up to 1-s, its F is -u.

    Cost: V+2F, and F+B.

    What goes wrong: a difference over e loses digits in single precision, and a step of e leaves a bias of its order;
    the source prefers its Eulerian loss on images.

    Attributes:
        normalise: whether the tangent is normalised; if not, it is g itself.
        constant: c (source: 0.1).
        warmup: fraction of the training over which a grows linearly from 0.
        limit: what a stops growing at (source: 0.99).
        step: e, the relative size of the Euler step (ttfm's choice; the source lets it tend to 0).
    """

    step: Annotated[float, Range(1e-3, 1)] = 0.01

    name = "ayf_lmd"
    title = "AYF-LMD"
    family = "Lagrangian"
    source = "arXiv 2506.14603 (normalisation and warm-up of this form are a reconstruction)"
    variants = (
        Variant(PLAIN, residual=3e-4, mixture=1e-3),
        Variant({"limit": 1.0, "warmup": 0.0}, residual=2e-2, mixture=5e-2),
        Variant(residual=5e-3, mixture=3e-2, progress=0.5),
    )

    def _tangent(self, batch: Batch, x: Tensor, target: FlowMap, teacher: Field) -> tuple[Tensor, Tensor]:
        s, t = batch.s, batch.t
        earlier = t - self.step * (t - s)
        u, before = target.average_velocity(s, t, x), target.average_velocity(s, earlier, x)
        velocity = teacher(earlier, x + expand(earlier - s, x) * before)
        return u, velocity - before - self.factor(batch.progress) * (u - before) / self.step
