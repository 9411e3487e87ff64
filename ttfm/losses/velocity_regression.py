"""Regression of a known velocity field."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, register, squared_norm


@register
@dataclass(frozen=True)
class VelocityRegression(Loss):
    r"""Regression of the diagonal on a teacher's known velocity.

    .. math:: E \| u_\theta(s, s, x_s) - v_s(x_s) \|^2

    This is how students of a closed-form teacher get their common initialisation, and it is ITVM's initial-velocity
    term on its own. The time is uniform on [0, 1].

    Source's symbols: the same; it has no paper of its own.

    Cost: F+B+V.

    What goes wrong: it knows nothing off the diagonal, and near t = 1, where the velocity of narrow data is steep, the
    plain squared error weighs it like any other.
    """

    name = "velocity_regression"
    title = "Velocity regression"
    family = "velocity"
    source = "the regression of a known velocity field; ttfm uses it to initialise students of closed-form teachers"
    learns = "velocity"
    needs_teacher = True

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``velocity``."""
        assert teacher is not None
        time = batch.single_time()
        state = batch.at(time)
        return {"velocity": squared_norm(student.velocity(time, state) - teacher(time, state).detach())}
