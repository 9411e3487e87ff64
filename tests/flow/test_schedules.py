"""Grids of noise levels, and the best jumps against every other choice of them."""

import itertools

import pytest
import torch

from ttfm.flow.schedules import (
    jump_costs,
    lognormal_noise,
    noise_grid,
    optimal_schedule,
    time_of_noise,
    times_of_grid,
)


def stored(count=8, seed=0, samples=5):
    """Random trajectories on a random grid; costs then have nothing in common that a wrong programme could use."""
    source = torch.Generator().manual_seed(seed)
    inner = torch.rand(count - 2, generator=source, dtype=torch.float64).sort().values
    times = torch.cat([torch.zeros(1), inner, torch.ones(1)]).double()
    return times, torch.randn(count, samples, 2, 3, generator=source, dtype=torch.float64)


def brute_force(costs, steps):
    last = len(costs) - 1
    schedules = [(0, *inner, last) for inner in itertools.combinations(range(1, last), steps - 1)]
    return min(schedules, key=lambda s: sum(costs[i, j].item() for i, j in itertools.pairwise(s)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", range(1, 8))
def test_no_schedule_of_so_many_jumps_is_better(steps, seed):
    times, path = stored(seed=seed)
    best = brute_force(jump_costs(times, path), steps)
    assert torch.equal(optimal_schedule(times, path, steps), times[list(best)])


def test_a_jumps_cost_is_the_squared_error_of_one_euler_step_of_the_teacher():
    times, path = stored()
    costs = jump_costs(times, path)
    for i, j in itertools.product(range(8), range(8)):
        if i >= j:
            assert costs[i, j] == torch.inf
            continue
        velocity = (path[i + 1] - path[i]) / (times[i + 1] - times[i])
        error = path[i] + (times[j] - times[i]) * velocity - path[j]
        assert costs[i, j].item() == pytest.approx(error.square().sum((1, 2)).mean().item(), abs=1e-9)
    assert costs[3, 4] < 1e-20  # neighbours of an Euler trajectory


def test_known_velocities_take_the_place_of_difference_quotients():
    times, path = stored()
    velocities = torch.randn(path.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    costs = jump_costs(times, path, velocities)
    error = path[2] + (times[5] - times[2]) * velocities[2] - path[5]
    assert costs[2, 5].item() == pytest.approx(error.square().sum((1, 2)).mean().item())
    assert torch.equal(optimal_schedule(times, path, 3, velocities), times[list(brute_force(costs, 3))])


def test_jumps_meet_where_the_path_bends():
    """Straight but for one corner at a stored time: two jumps through it are exact, and one is not."""
    times = torch.linspace(0, 1, 11, dtype=torch.float64)
    path = torch.where(times < 0.35, times, 0.3 - 3 * (times - 0.3))[:, None, None].expand(11, 4, 1)
    assert optimal_schedule(times, path, 2).tolist() == pytest.approx([0, 0.3, 1])
    costs = jump_costs(times, path)
    assert costs[0, 3] + costs[3, 10] < 1e-20
    assert costs[0, 10] > 1
    assert torch.equal(optimal_schedule(times, path, 10), times)


@pytest.mark.parametrize("steps", [0, 8])
def test_a_schedule_must_exist(steps):
    times, path = stored()
    with pytest.raises(ValueError, match=f"8 stored times admit 1 to 7 jumps, not {steps}"):
        optimal_schedule(times, path, steps)


def test_the_grid_of_noise_levels_is_equidistant_in_its_root():
    sigma = noise_grid(18, 7.0, 0.002, 80.0)
    assert sigma[[0, -1]].tolist() == pytest.approx([80, 0.002])
    roots = sigma ** (1 / 7)
    assert torch.allclose(roots.diff(), roots.diff()[0].expand(17))
    times = times_of_grid(sigma)
    assert times[[0, -1]].tolist() == [0, 1]
    assert (times.diff() > 0).all()
    assert torch.allclose((1 - times[1:-1]) / times[1:-1], sigma[1:-1])


def test_noise_levels_are_lognormal_and_finite_at_the_ends():
    uniform = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    logs = lognormal_noise(uniform, -1.1, 2.0).log()
    assert logs.mean().item() == pytest.approx(-1.1, abs=0.02)
    assert logs.std().item() == pytest.approx(2.0, abs=0.02)
    ends = lognormal_noise(torch.tensor([0.0, 1.0]), -1.1, 2.0)
    assert torch.isfinite(ends).all()
    assert (ends > 0).all()
    assert ((time_of_noise(ends) > 0) & (time_of_noise(ends) < 1)).all()
