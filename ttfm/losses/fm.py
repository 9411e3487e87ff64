"""Flow matching."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import conditional_velocity
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, register, squared_norm


@register
@dataclass(frozen=True)
class FlowMatching(Loss):
    r"""Conditional flow matching (Lipman et al., arXiv 2210.02747; Liu et al., arXiv 2209.03003).

    .. math:: E \| u_\theta(s, s, x_s) - (x_1 - x_0) \|^2, \quad x_s = (1-s) x_0 + s x_1

    Its minimiser is the marginal velocity :math:`v_s(x) = E[x_1 - x_0 | x_s = x]`. Only the diagonal s = t is trained.
    The time is uniform on [0, 1].
    """

    name = "fm"
    title = "Flow matching"
    family = "velocity"
    source = "arXiv 2210.02747, arXiv 2209.03003"
    learns = "velocity"
    needs_teacher = False
    conditional = True

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``velocity``."""
        time = batch.single_time()
        prediction = student.velocity(time, batch.at(time))
        return {"velocity": squared_norm(prediction - conditional_velocity(batch.x0, batch.x1))}


@register
@dataclass(frozen=True)
class VelocityRegression(Loss):
    r"""Regression of the diagonal on a teacher's known velocity.

    .. math:: E \| u_\theta(s, s, x_s) - v_s(x_s) \|^2

    This is how students of a closed-form teacher get their common initialisation, and it is ITVM's initial-velocity
    term on its own. The time is uniform on [0, 1].
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
