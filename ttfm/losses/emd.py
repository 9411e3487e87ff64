"""Eulerian flow map distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm

Gradient = Literal["full", "time", "semigradient"]


def eulerian_residual(student: FlowMap, s: Tensor, t: Tensor, x: Tensor, v: Tensor, gradient: Gradient) -> Tensor:
    r"""The residual :math:`u - v - (t-s)(\partial_s u + \nabla_x u \, v)` at (s, t, x), shape ``(B, *shape)``.

    Args:
        student: the map.
        s: start times, ``(B,)``.
        t: end times, ``(B,)``.
        x: states at the start times, ``(B, *shape)``.
        v: velocities at (s, x), ``(B, *shape)``.
        gradient: the gradient flows through every term ("full"), through u and its derivative in s ("time"), or
            through u alone ("semigradient").
    """
    gap = expand(t - s, x)
    if gradient == "full":
        u, total = student.eulerian(s, t, x, v)
        return u - v - gap * total
    with torch.no_grad():
        _, total = student.eulerian(s, t, x, v)
    if gradient == "semigradient":
        return student.average_velocity(s, t, x) - v - gap * total
    u, in_time = student.eulerian(s, t, x, torch.zeros_like(x))
    # The value is that of the whole derivative; only the part in s carries a gradient.
    return u - v - gap * (total + (in_time - in_time.detach()))


@register
@dataclass(frozen=True)
class EMD(Loss):
    r"""Eulerian flow map distillation (Boffi et al., arXiv 2406.07507; arXiv 2505.18825, eq. 28, 29 and 38).

    .. math:: E \| \partial_s \phi_{s,x_s}(t) + \nabla_x \phi_{s,x_s}(t) \, v_s(x_s) \|^2
              = E \| u - v_s(x_s) - (t-s)(\partial_s u + \nabla_x u \, v_s(x_s)) \|^2

    The "semigradient" form is MeanFlow distillation without its adaptive weight and without extra samples on the
    diagonal.

    Source's symbols: :math:`X_{s,t}` and :math:`b_t` are :math:`\phi_{s,\cdot}(t)` and v_t here; times are the same.

    Cost: V and JB ("full"), J+F+B ("semigradient") or J+JB ("time").

    What goes wrong: gradients through the spatial derivative grow large and are known to destabilise the training; even
    without them the target holds the network's Jacobian, which grows with its embeddings' frequencies.

    Attributes:
        gradient: "full", the loss as it is written (eq. 28); "time", no gradient through the spatial derivative
            (eq. 29); "semigradient", through u alone (eq. 38), ttfm's default for its stability and its cost.
    """

    gradient: Gradient = "semigradient"

    name = "emd"
    title = "EMD"
    family = "Eulerian"
    source = "arXiv 2406.07507; arXiv 2505.18825, eq. 28, 29 and 38"
    learns = "any_to_any"
    needs_teacher = True
    variants = tuple(Variant({"gradient": gradient}) for gradient in ("semigradient", "time", "full"))

    @property
    def uses_jvp(self) -> bool:
        """True: the network's derivative is in the loss."""
        return True

    @property
    def trains_through_jvp(self) -> bool:
        """Whether any gradient flows through it: not through the semigradient form."""
        return self.gradient != "semigradient"

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``eulerian``."""
        assert teacher is not None
        x = batch.at(batch.s)
        with torch.no_grad():
            velocity = teacher(batch.s, x)
        return {"eulerian": squared_norm(eulerian_residual(student, batch.s, batch.t, x, velocity, self.gradient))}
