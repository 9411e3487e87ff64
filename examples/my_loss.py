"""A loss of your own in one file: copy this one, change its name and its target.

The registry finds it by ``loss_modules: [examples/my_loss.py]`` in an experiment; everything else (the options'
schema, the sampler, the rows of the tables, the tests that verify it) follows from what the class declares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.solvers import Field
from ttfm.losses import Batch, Loss, Variant, register
from ttfm.losses.base import squared_norm
from ttfm.options import Decay, Range


@register
@dataclass(frozen=True)
class MidpointSemigroup(Loss):
    r"""Semigroup distillation whose first leg is one midpoint step of the teacher.

    A flow map composes: going from s to r and on from r to t is going from s to t. With a relative width e in
    (0, eps], r = s + e (t-s), the short leg from s to r is left to the teacher and the long one to the model:

    .. math:: u_\theta(s,t,x_s) \to e \, b + (1-e) \, u^-(r, t, x_s + (r-s) b), \quad
              b = v_m(x_s + (m-s) \, v_s(x_s)), \; m = (s+r)/2

    The semigroup identity is that of arXiv 2505.18825; its combination with a midpoint step is this example's own. The
    target is a convex combination: nothing divides by t - s, and on the diagonal it is v_s(x_s).

    Source's symbols: the same.

    Cost: 2V+2F+B.

    What goes wrong: where the teacher's leg is long the midpoint rule's error of order (r-s)^2 stays in the map; where
    it is short the map is learned slowly, from the diagonal outwards.

    Attributes:
        eps: largest relative width e of the teacher's leg, in (0, 1]; the default is our own choice.
        mu: EMA decay of the target network; the default 0 is a stop-gradient copy.
    """

    eps: Annotated[float, Range(0, 1, open_="low")] = 0.25
    mu: Decay = 0.0

    name = "midpoint_semigroup"
    title = "Midpoint semigroup"
    family = "semigroup"
    source = "an example; the identity is that of arXiv 2505.18825"
    learns = "any_to_any"
    needs_teacher = True
    variants = (
        Variant(residual=1e-8, mixture=1e-6),
        Variant({"eps": 1.0}, residual=1e-3, mixture=1e-2),
        Variant({"eps": 0.05, "mu": 0.9}),
    )

    @property
    def target_decay(self) -> float | None:
        """The option ``mu``."""
        return self.mu

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``semigroup``."""
        assert target is not None and teacher is not None
        s, t, x = batch.s, batch.t, batch.at(batch.s)
        e = self.eps * (1 - batch.uniform())
        leg = e * (t - s)
        with torch.no_grad():
            b = teacher(s + leg / 2, x + expand(leg / 2, x) * teacher(s, x))
            rest = target.average_velocity(s + leg, t, x + expand(leg, x) * b)
            goal = torch.lerp(rest, b, expand(e, x))
        return {"semigroup": squared_norm(student.average_velocity(s, t, x) - goal)}
