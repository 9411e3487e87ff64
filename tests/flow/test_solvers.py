import numpy as np
import pytest
import torch

from tests.exact import linear_gaussian
from ttfm.flow.solvers import SOLVERS, solve, trajectory

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}


@pytest.mark.parametrize("name", SOLVERS)
def test_order_is_the_slope_of_the_error(name):
    field, exact = linear_gaussian((0.5, -1.0), 0.6)
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # An interval without symmetry: over all of [0, 1] some methods are better than their order on this flow.
    start, end = 0.15, 0.8
    truth = exact(x.new_full((64,), start), x.new_full((64,), end), x)
    steps = np.array([16, 32, 64, 128])
    errors = [(solve(field, x, name, int(k), start, end) - truth).abs().max().item() for k in steps]
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
