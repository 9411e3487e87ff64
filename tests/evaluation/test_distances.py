from __future__ import annotations

import math

import pytest
import torch

from ttfm.data.densities import Checkerboard
from ttfm.evaluation import distances
from ttfm.evaluation.distances import (
    BANDWIDTHS,
    energy_distance,
    histogram_kl,
    mmd_squared,
    sliced_w2,
)
from ttfm.evaluation.paired import endpoint_rmse, l2
from ttfm.seeds import generator

SETS = [energy_distance, mmd_squared, sliced_w2]


def normal(count: int, dimension: int, seed: int) -> torch.Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


def kernel(distance: float) -> float:
    return sum(math.exp(-(distance**2) / (2 * h**2)) for h in BANDWIDTHS)


def test_energy_distance_of_point_masses_is_twice_their_distance():
    x, y = torch.zeros(5, 2), torch.tensor([[3.0, 4.0]]).repeat(7, 1)
    assert energy_distance(x, y) == 10.0


def test_energy_distance_of_two_point_sets_is_the_v_statistic():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [3.0]])
    # 2 * (0 + 3 + 1 + 2) / 4 - (0 + 1 + 1 + 0) / 4 - (0 + 3 + 3 + 0) / 4
    assert energy_distance(x, y) == pytest.approx(1.0, abs=1e-15)


def test_energy_distance_of_equal_sets_in_another_order_is_zero():
    x = normal(300, 2, seed=0)
    assert energy_distance(x, x.flip(0)) == pytest.approx(0.0, abs=1e-14)
    assert energy_distance(x, normal(300, 2, seed=1)) > 0


def test_squared_mmd_of_point_masses_is_the_kernels_gap():
    x, y = torch.zeros(5, 2), torch.tensor([[0.0, 1.0]]).repeat(7, 1)
    assert mmd_squared(x, y) == pytest.approx(2 * kernel(0.0) - 2 * kernel(1.0), rel=1e-14)


def test_squared_mmd_counts_no_point_against_itself():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [4.0]])
    cross = (kernel(2) + kernel(4) + kernel(1) + kernel(3)) / 4
    assert mmd_squared(x, y) == pytest.approx(kernel(1) + kernel(2) - 2 * cross, rel=1e-13)


def test_squared_mmd_is_unbiased_under_equal_distributions():
    points = normal(4800, 2, seed=3).reshape(300, 2, 8, 2)
    values = torch.tensor([mmd_squared(x, y) for x, y in points], dtype=torch.float64)
    standard_error = (values.std() / math.sqrt(len(values))).item()
    # The biased estimator would exceed zero by about 0.9 here, some thirty standard errors.
    assert abs(values.mean().item()) < 4 * standard_error
    assert standard_error < 0.03
    assert values.min() < 0


def test_squared_mmd_of_gaussians_agrees_with_its_closed_form():
    shift = 0.7
    expected = 0.0
    for h in BANDWIDTHS:
        # E k(x, y) for x ~ N(0, I), y ~ N(m, I) in two dimensions.
        overlap = h**2 / (h**2 + 2)
        expected += 2 * overlap * (1 - math.exp(-(shift**2) / (2 * (h**2 + 2))))
    sets = normal(60 * 2 * 400, 2, seed=0).reshape(60, 2, 400, 2)
    values = torch.tensor([mmd_squared(x, y + torch.tensor([shift, 0.0])) for x, y in sets], dtype=torch.float64)
    standard_error = (values.std() / math.sqrt(len(values))).item()
    assert values.mean().item() == pytest.approx(expected, abs=4 * standard_error)
    assert 4 * standard_error < 0.15 * expected


def test_sliced_w2_of_a_shift_is_its_length_along_the_directions():
    x, shift = normal(500, 2, seed=0), torch.tensor([0.3, -0.4])
    along = (distances.directions(2, 256, seed=0) @ shift.double()).square().mean().sqrt().item()
    assert sliced_w2(x, x + shift) == pytest.approx(along, rel=1e-6)
    # The mean of (theta . c)^2 over the circle is |c|^2 / 2.
    assert sliced_w2(x, x + shift) == pytest.approx(0.5 / math.sqrt(2), rel=0.05)


def test_sliced_w2_in_one_dimension_is_exact_transport():
    x = torch.tensor([[0.0], [10.0], [1.0]])
    assert sliced_w2(x, torch.tensor([[12.0], [0.0], [2.0]])) == pytest.approx(math.sqrt((0 + 1 + 4) / 3), rel=1e-12)


def test_directions_have_unit_length_and_depend_on_the_seed_alone():
    theta = distances.directions(3, 16, seed=5)
    torch.manual_seed(0)
    torch.testing.assert_close(theta.norm(dim=1), torch.ones(16, dtype=torch.float64))
    assert torch.equal(theta, distances.directions(3, 16, seed=5))
    assert not torch.equal(theta, distances.directions(3, 16, seed=6))


@pytest.mark.parametrize("distance", SETS)
def test_two_calls_agree_and_inputs_are_left_alone(distance):
    x, y = normal(400, 2, seed=0).double(), normal(400, 2, seed=1).double() * 2
    before = x.clone(), y.clone()
    first = distance(x, y)
    torch.manual_seed(0)
    assert distance(x, y) == first
    assert first > 0.01
    assert torch.equal(x, before[0]) and torch.equal(y, before[1])


@pytest.mark.parametrize("distance", [energy_distance, mmd_squared])
def test_the_size_of_chunks_does_not_matter(distance, monkeypatch):
    x, y = normal(300, 2, seed=0), normal(250, 2, seed=1) + 1
    whole = distance(x, y)
    monkeypatch.setattr(distances, "ROWS", 7)
    assert distance(x, y) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("distance", SETS)
def test_images_are_points_of_their_pixels(distance):
    x, y = normal(50, 64, seed=0), normal(50, 64, seed=1) + 1
    assert distance(x.reshape(50, 1, 8, 8), y.reshape(50, 1, 8, 8)) == distance(x, y)


@pytest.mark.parametrize("distance", SETS)
def test_what_cannot_be_compared_is_refused(distance):
    good = normal(10, 2, seed=0)
    broken = good.clone()
    broken[3] = float("nan")
    broken[7, 1] = float("inf")
    with pytest.raises(ValueError, match="2 of 10 samples are not finite"):
        distance(broken, good)
    with pytest.raises(ValueError, match="2 of 10 samples compared with are not finite"):
        distance(good, broken)
    with pytest.raises(ValueError, match=r"not \(10, 2\) and \(10, 3\)"):
        distance(good, normal(10, 3, seed=0))
    with pytest.raises(ValueError, match="non-empty"):
        distance(good[:0], good)


def test_set_sizes_are_checked_where_they_matter():
    with pytest.raises(ValueError, match="equal size, not 10 and 9"):
        sliced_w2(normal(10, 2, seed=0), normal(9, 2, seed=0))
    with pytest.raises(ValueError, match="at least two points in each set, not 1 and 9"):
        mmd_squared(normal(1, 2, seed=0), normal(9, 2, seed=0))


def test_paired_errors_in_closed_form():
    x = torch.zeros(2, 1, 2, 2)
    y = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 3.0)])
    # Squared norms 4 and 36 of four pixels each.
    assert endpoint_rmse(x, y) == pytest.approx(math.sqrt(20), rel=1e-15)
    assert l2(x, y) == pytest.approx(math.sqrt(5), rel=1e-15)


@pytest.mark.parametrize("error", [endpoint_rmse, l2])
def test_paired_errors_need_pairs(error):
    with pytest.raises(ValueError, match=r"not \(3, 2\) and \(1, 2\)"):
        error(torch.zeros(3, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="1 of 3 samples are not finite"):
        error(torch.tensor([[0.0], [1.0], [float("nan")]]), torch.zeros(3, 1))


def test_divergence_of_a_checkerboard_from_itself_falls_with_the_points_and_misses_are_punished():
    board = Checkerboard(cells=4, half_width=2.0)
    p = board.probabilities(128)
    assert p.sum().item() == pytest.approx(1)
    few, many = (histogram_kl(p, board.sample(n, generator(0, "kl")), 2.0) for n in (50_000, 800_000))
    # About (occupied cells - 1) / 2N from counting, and log(1 + B / N) less the added points' share.
    assert 0 < many < 0.02
    assert few > 5 * many
    uniform = (torch.rand(800_000, 2, generator=generator(1, "kl")) - 0.5) * 4
    # Half of the mass on the wrong cells costs log 2.
    assert histogram_kl(p, uniform, 2.0) == pytest.approx(math.log(2), abs=0.03)
    outside = torch.cat([board.sample(400_000, generator(2, "kl")), torch.full((400_000, 2), 9.0)])
    assert histogram_kl(p, outside, 2.0) == pytest.approx(math.log(2), abs=0.03)


def test_a_grid_that_does_not_refine_the_board_is_refused():
    with pytest.raises(ValueError, match="no refinement"):
        Checkerboard(cells=6).probabilities(128)
