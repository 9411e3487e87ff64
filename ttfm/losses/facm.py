"""Flow-anchored consistency models."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.labels import rows
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import NonNegative, Positive


@register
@dataclass(frozen=True)
class FlowAnchoredConsistency(Loss):
    r"""Flow-anchored consistency model (Peng et al., arXiv 2507.03738, and the authors' code).

    Its two tasks share one network and are told apart by the time code; in the two-timed network the consistency model
    sits at (s, 1) and the anchor at (s, s), which is the source's own variant with a second time input. With the
    teacher's v = v_s(x_s) and u = u(s, 1, x_s),

    .. math:: \text{consistency:} \; \beta \, \frac{e}{\mathrm{sg}(e + \epsilon)^p}, \quad
              e = \tfrac1D \| u_\theta - \mathrm{sg}[u - \alpha \, \mathrm{clamp}(u - v - (1-s)(\partial_s u +
              \nabla_x u \, v), -1, 1)] \|^2,

    .. math:: \text{anchor:} \; \tfrac1D \| u_\theta(s,s,x_s) - v \|^2 + \lambda (1 - \cos(u_\theta(s,s,x_s), v)),

    :math:`\alpha = 1 - s^{a}`, :math:`\beta = \cos(\pi s / 2)`. The clamp is by component. Both terms are means over
    the D components, as in the source, because the clamp and epsilon are meant for one. Times are uniform (source: the
    arc tangent of a log-normal noise level); the cosine is that of whole samples (source: of the channels at each
    place).

    Source's symbols: its time t is s here, in the same direction.

    Cost: J+2F+2B+V, the student's two evaluations as one batch.

    What goes wrong: without the anchor, which keeps the velocity, the derivative's tangent drifts; the clamp bounds
    what the Jacobian term can do in one step, and where components exceed 1 for long, as data of another scale make
    them, it slows training down; only jumps to t = 1 are learned.

    Attributes:
        relaxation: exponent a of alpha (source: 0.5).
        power: p of the adaptive weight (source: 0.5); 0 leaves the squared error.
        epsilon: epsilon of the adaptive weight (source: 1e-3).
        cosine: weight lambda of the anchor's cosine distance (source: 1).
    """

    relaxation: Positive = 0.5
    power: NonNegative = 0.5
    epsilon: Positive = 1e-3
    cosine: NonNegative = 1.0

    name = "facm"
    title = "FACM"
    family = "consistency"
    source = "arXiv 2507.03738 and the authors' code; times uniform"
    learns = "to_data"
    needs_teacher = True
    variants = (Variant(), Variant({"power": 0.0, "cosine": 0.0}), Variant({"relaxation": 1.0}))

    @property
    def uses_jvp(self) -> bool:
        """True: the network's derivative is in the target."""
        return True

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """Terms ``consistency`` and ``anchor``."""
        assert teacher is not None
        s = batch.single_time()
        end, x = torch.ones_like(s), batch.at(s)
        size, time = x[0].numel(), expand(s, x)
        with torch.no_grad():
            velocity = teacher(s, x)
            u, total = student.eulerian(s, end, x, velocity)
            gap = (u - velocity - (1 - time) * total).clamp(-1, 1)
            goal = u - (1 - time**self.relaxation) * gap
        queries = ((s, end, x), (s, s, x))
        with rows(slice(None), slice(None)):
            joined = student.average_velocity(*(torch.cat(part) for part in zip(*queries, strict=True)))
        prediction, anchor = joined.chunk(2)
        error = squared_norm(prediction - goal) / size
        weight = (math.pi / 2 * s).cos() / (error.detach() + self.epsilon) ** self.power
        cosine = nn.functional.cosine_similarity(anchor.flatten(1), velocity.flatten(1))
        return {
            "consistency": weight * error,
            "anchor": squared_norm(anchor - velocity) / size + self.cosine * (1 - cosine),
        }
