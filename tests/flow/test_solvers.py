import numpy as np
import pytest
import torch

from ttfm.flow.solvers import SOLVERS, solve, trajectory

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}


def logistic(t, x):
    """A nonlinear, time-dependent velocity with a known solution."""
    return (1 + t[:, None]) * x * (1 - x)


def logistic_solution(x0, t):
    return 1 / (1 + (1 / x0 - 1) * np.exp(-(t + t**2 / 2)))


@pytest.mark.parametrize("name", SOLVERS)
def test_order_is_the_slope_of_the_error(name):
    x0 = torch.linspace(0.1, 0.6, 40, dtype=torch.float64).reshape(20, 2)
    steps = np.array([16, 32, 64, 128])
    errors = [(solve(logistic, x0, name, int(k)) - logistic_solution(x0, 1.0)).abs().max().item() for k in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(ORDERS[name], abs=0.15)


def test_trajectory_begins_at_its_start_and_has_one_state_per_grid_point():
    x = torch.ones(3, 2)
    states = list(trajectory(lambda t, x: torch.ones_like(x), x, "euler", 4, start=0.2, end=0.6))
    assert len(states) == 5
    assert torch.equal(states[0], x)
    assert torch.allclose(states[-1], x + 0.4)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="at least one step"):
        solve(lambda t, x: x, torch.zeros(1, 2), "euler", 0)
