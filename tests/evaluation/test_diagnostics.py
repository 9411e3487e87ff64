"""Descriptions of a flow against flows whose answer is known."""

import pytest
import torch

from tests.exact import Exact
from ttfm.evaluation import diagnostics
from ttfm.evaluation.diagnostics import jacobian_asymmetry, map_path, straightness, transport_cost, velocity_path
from ttfm.flow.fields import GaussianMixtureField, LearnedField, LinearGaussianField, ring_means
from ttfm.flow.flow_map import FlowMap
from ttfm.networks.mlp import MLP
from ttfm.networks.unet import UNet

TIMES = torch.linspace(0, 1, 33, dtype=torch.float64)


def on(function):
    return torch.stack([function(t) for t in TIMES])


def test_straight_lines_at_constant_speed_have_no_curvature_and_a_detour_has_its_own():
    x0, x1 = torch.randn(2, 50, 2, dtype=torch.float64)
    assert straightness(TIMES, on(lambda t: x0 + t * (x1 - x0))) < 1e-20
    # x = x0 + t^2 (x1 - x0): the integral of (2t - 1)^2 is 1/3.
    bent = straightness(TIMES, on(lambda t: x0 + t**2 * (x1 - x0)))
    assert bent == pytest.approx((x1 - x0).square().sum(1).mean().item() / 3, rel=2e-3)


def test_transport_cost_is_a_root_mean_square_distance():
    x0 = torch.zeros(4, 2)
    assert transport_cost(x0, x0 + torch.tensor([3.0, 4.0])) == pytest.approx(5)


@pytest.mark.parametrize(
    ("matrix", "expected"), [([[2, 1], [1, -1]], 0), ([[0, 1], [-1, 0]], 1), ([[1, 2], [0, 1]], None)]
)
def test_asymmetry_of_linear_fields(matrix, expected):
    a = torch.tensor(matrix, dtype=torch.float64)
    value = jacobian_asymmetry(lambda t, x: x @ a.T, TIMES, torch.randn(33, 400, 2, dtype=torch.float64))
    if expected is None:
        # E|Az|^2 is the squared Frobenius norm.
        expected = (a - a.T).square().sum().item() / (4 * a.square().sum().item())
        assert value == pytest.approx(expected, rel=0.05)
    else:
        assert value == pytest.approx(expected, abs=1e-12)


def test_the_exact_velocity_of_a_mixture_is_a_gradient_and_a_networks_is_not():
    paths = torch.randn(33, 20, 2, dtype=torch.float64)
    assert jacobian_asymmetry(GaussianMixtureField(ring_means(8, 2.0), 0.15), TIMES, paths) < 1e-10
    torch.manual_seed(0)
    assert 0.01 < jacobian_asymmetry(LearnedField(MLP((2,), 16, 2)), TIMES, paths.float()) <= 1
    unet = UNet((1, 8, 8), 8, [1], patch=2)
    torch.nn.init.normal_(unet.head.weight)
    assert 0 < jacobian_asymmetry(LearnedField(unet.eval()), TIMES, torch.randn(33, 4, 1, 8, 8)) <= 1


def test_paths_of_the_exact_map_and_of_its_velocity_meet():
    field = LinearGaussianField(torch.tensor([1.0, 0.0], dtype=torch.float64), 0.3)
    x0 = torch.randn(10, 2, dtype=torch.float64)
    fine = torch.linspace(0, 1, 2001, dtype=torch.float64)
    ends = map_path(FlowMap(Exact(field)), x0, TIMES)[-1], velocity_path(field, x0, fine)[-1]
    assert (ends[0] - ends[1]).abs().max() < 3e-3


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        transport_cost(torch.zeros(2, 2), torch.full((2, 2), float("nan")))
    with pytest.raises(ValueError, match="finite"):
        jacobian_asymmetry(lambda t, x: x * float("nan"), TIMES, torch.randn(33, 4, 2, dtype=torch.float64))


def test_asymmetry_does_not_depend_on_the_pieces(monkeypatch):
    unet = UNet((1, 8, 8), channels=8, embedding=16).eval()
    paths = torch.randn(33, 4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = jacobian_asymmetry(LearnedField(unet), TIMES, paths)
    monkeypatch.setattr(diagnostics, "PIECE", 4 * 64 * 5)
    assert jacobian_asymmetry(LearnedField(unet), TIMES, paths) == pytest.approx(whole, rel=1e-5)
