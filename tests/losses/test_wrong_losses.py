"""Losses that are wrong on purpose fail the generic tests."""

import inspect
import re
from dataclasses import dataclass

import pytest

from tests.exact import linear_gaussian, mixture
from tests.losses import generic, test_generic
from tests.losses.generic import check_residual, check_stationary
from ttfm.losses import load_modules
from ttfm.losses.base import squared_norm
from ttfm.losses.fm import FlowMatching
from ttfm.losses.itvm import ITVM
from ttfm.losses.lfmd import LFMD
from ttfm.losses.meanflow_distill import MeanFlowDistillation
from ttfm.networks.mlp import MLP


@dataclass(frozen=True)
class DerivativeDropped(ITVM):
    """The terminal velocity as the average velocity."""

    def terms(self, batch, student, target, teacher):
        u = target.average_velocity(batch.s, batch.t, batch.at(batch.s))
        end = batch.at(batch.s) + (batch.t - batch.s)[:, None] * u
        return {"terminal": squared_norm(u - teacher(batch.t, end))}


@dataclass(frozen=True)
class Trapezoid(ITVM):
    """The mean of the velocities at both ends as the average velocity."""

    def terms(self, batch, student, target, teacher):
        x = batch.at(batch.s)
        u = target.average_velocity(batch.s, batch.t, x)
        ends = (teacher(batch.s, x) + teacher(batch.t, x + (batch.t - batch.s)[:, None] * u)) / 2
        return {"terminal": squared_norm(u - ends)}


@dataclass(frozen=True)
class OtherSign(MeanFlowDistillation):
    """The Eulerian identity with the sign that it has where noise is at t = 1."""

    def terms(self, batch, student, target, teacher):
        x = batch.at(batch.s)
        velocity = teacher(batch.s, x)
        u, derivative = student.eulerian(batch.s, batch.t, x, velocity)
        return {"terminal": squared_norm(u - velocity + (batch.t - batch.s)[:, None] * derivative)}


@pytest.mark.parametrize("wrong", [DerivativeDropped, Trapezoid, OtherSign])
@pytest.mark.parametrize(("flow", "bound"), [(linear_gaussian(), "residual"), (mixture(), "mixture")])
def test_a_wrong_target_leaves_too_much(wrong, flow, bound):
    with pytest.raises(AssertionError, match="the residual of terminal exceeds"):
        check_residual(wrong(), flow, 2 * getattr(ITVM.variants[0], bound))


@dataclass(frozen=True)
class GradientNotStopped(MeanFlowDistillation):
    """The Eulerian identity as a residual: at the exact map it is zero too, and it trains something else."""

    def terms(self, batch, student, target, teacher):
        x = batch.at(batch.s)
        velocity = teacher(batch.s, x)
        u, derivative = student.eulerian(batch.s, batch.t, x, velocity)
        return {"eulerian": squared_norm(u - velocity - (batch.t - batch.s)[:, None] * derivative)}


def test_a_gradient_that_is_not_stopped_is_found():
    loss = GradientNotStopped()
    check_residual(loss, linear_gaussian(), 1e-12)
    with pytest.raises(AssertionError, match="a gradient flows through the derivative: True"):
        test_generic.test_target_teacher_and_derivatives_are_used_exactly_where_declared(
            generic.Case(loss, loss.variants[0])
        )


@dataclass(frozen=True)
class ConditionalLagrangian(LFMD):
    """A single sample's velocity where the path does not pass through that sample's states."""

    def terms(self, batch, student, target, teacher):
        gap = (batch.t - batch.s)[:, None]
        u, dudt = student.lagrangian(batch.s, batch.t, batch.at(batch.s))
        return {"lagrangian": squared_norm(u + gap * dudt - (batch.x1 - batch.x0))}


def test_a_wrong_expectation_is_stationary_elsewhere():
    with pytest.raises(AssertionError, match="stationary elsewhere"):
        check_stationary(ConditionalLagrangian(), linear_gaussian(), 1e-2)


@dataclass(frozen=True)
class Blind(LFMD):
    """Nothing that a shift of the map would change."""

    def terms(self, batch, student, target, teacher):
        u = student.average_velocity(batch.s, batch.t, batch.at(batch.s))
        return {"lagrangian": squared_norm(u - u.detach() + batch.x1 - batch.x0)}


def test_a_loss_that_notices_no_shift_is_found():
    with pytest.raises(AssertionError, match="goes unnoticed"):
        check_stationary(Blind(), linear_gaussian(), 1e-2)


@dataclass(frozen=True)
class Idle(FlowMatching):
    """Finite, with a gradient, and nothing to learn."""

    def terms(self, batch, student, target, teacher):
        velocity = student.velocity(batch.s, batch.at(batch.s))
        return {"velocity": squared_norm(velocity - velocity.detach())}


def test_a_loss_that_learns_nothing_is_found():
    field = linear_gaussian((0.5, -1.0), 0.8)[0]
    with pytest.raises(AssertionError, match="endpoint error"):
        test_generic.test_a_short_training_learns_the_flow(Idle(), generic.fitted(field), MLP((2,), 64, 2))


def test_the_generic_tests_name_no_loss():
    text = inspect.getsource(test_generic) + inspect.getsource(generic)
    for name, loss in load_modules().items():
        assert not re.search(rf"[\"']{name}[\"']|\b{loss.__name__}\b", text), name
