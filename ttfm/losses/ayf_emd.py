"""Align Your Flow: Eulerian map distillation with a normalised tangent."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Fraction, Positive

PLAIN: dict[str, Any] = {"normalise": False, "warmup": 0.0, "limit": 1.0}
"""The options without normalisation, warm-up and regularisation."""


@dataclass(frozen=True)
class AlignYourFlow(Loss):
    r"""Base of the two losses, which move u along a tangent g.

    .. math:: u_\theta(s,t,x_s) \to \mathrm{sg}[u(s,t,x_s) + g / (\|g\| + c)]

    Attributes:
        normalise: whether the tangent is normalised; if not, it is g itself.
        constant: c.
        warmup: fraction of the training over which the factor a of the network's derivative in g grows linearly.
        limit: what a stops growing at.
    """

    normalise: bool = True
    constant: Positive = 0.1
    warmup: Fraction = 0.2
    limit: Fraction = 0.99

    learns = "any_to_any"
    needs_teacher = True

    @property
    def target_decay(self) -> float | None:
        """0: the target is a stop-gradient copy of the student."""
        return 0.0

    def factor(self, progress: float) -> float:
        """The factor a of the network's derivative at ``progress`` in [0, 1)."""
        return min(self.limit, progress / self.warmup) if self.warmup else self.limit

    @abc.abstractmethod
    def _tangent(self, batch: Batch, x: Tensor, target: FlowMap, teacher: Field) -> tuple[Tensor, Tensor]:
        """The target's u at (s, t, x), and g; called without gradients."""

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, the name of the family in lower case."""
        assert target is not None and teacher is not None
        x = batch.at(batch.s)
        with torch.no_grad():
            u, tangent = self._tangent(batch, x, target, teacher)
            if self.normalise:
                tangent = tangent / (expand(squared_norm(tangent).sqrt(), x) + self.constant)
        return {self.family.lower(): squared_norm(student.average_velocity(batch.s, batch.t, x) - u - tangent)}


@register
@dataclass(frozen=True)
class AYFEMD(AlignYourFlow):
    r"""AYF-EMD, the Eulerian loss of Align Your Flow (Sabour et al., arXiv 2506.14603).

    .. math:: u_\theta(s,t,x_s) \to \mathrm{sg}[u + g / (\|g\| + c)], \quad
              g = v_s(x_s) - u + a (t-s)(\partial_s u + \nabla_x u \, v_s(x_s))

    For a = 1, g is the derivative of phi along the teacher's trajectory. Autoguidance and adversarial fine-tuning are
    left out, the loss has no weight, and times are uniform.

    Source's symbols: noise at t = 1; its interval from t down to s is ours from 1-t up to 1-s, its F is -u.

    Cost: J+V+F+B.

    What goes wrong: the network's Jacobian times the velocity, which the normalisation bounds in each step and the
    warm-up keeps out at first; the loss lies between 0 and 1 and does not show progress; a < 1 leaves a small bias
    towards v_s.

    Attributes:
        normalise: whether the tangent is normalised; if not, it is g itself.
        constant: c (source: 0.1).
        warmup: fraction of the training over which a grows linearly from 0 (ttfm's choice; sCM, arXiv 2410.11081, where
            the warm-up comes from: 10,000 iterations).
        limit: what a stops growing at (source: 0.99).
    """

    name = "ayf_emd"
    title = "AYF-EMD"
    family = "Eulerian"
    source = "arXiv 2506.14603, without guidance"
    variants = (
        Variant(PLAIN),
        Variant({"limit": 1.0, "warmup": 0.0}),
        Variant(residual=2e-3, mixture=1e-2, progress=0.5),
    )

    @property
    def uses_jvp(self) -> bool:
        """True: the network's derivative is in the target."""
        return True

    def _tangent(self, batch: Batch, x: Tensor, target: FlowMap, teacher: Field) -> tuple[Tensor, Tensor]:
        velocity = teacher(batch.s, x)
        u, total = target.eulerian(batch.s, batch.t, x, velocity)
        return u, velocity - u + self.factor(batch.progress) * expand(batch.t - batch.s, x) * total
