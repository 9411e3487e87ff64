import math

import pytest
import torch

from tests.exact import linear_gaussian
from ttfm.flow.fields import GaussianMixtureField, GuidedField, LearnedField, ring_means
from ttfm.flow.interpolant import interpolate
from ttfm.flow.labels import LabelsError, bound, current
from ttfm.flow.solvers import solve


def test_mixture_velocity_is_the_conditional_expectation():
    """Regress x1 - x0 on x_t by nearest neighbours of one state: the average is the closed form."""
    field = GaussianMixtureField(ring_means(8, 2.0), 0.15)
    generator = torch.Generator().manual_seed(0)
    count, time = 2_000_000, 0.6
    x0 = torch.randn(count, 2, generator=generator)
    mode = torch.randint(8, (count,), generator=generator)
    x1 = field.means[mode] + 0.15 * torch.randn(count, 2, generator=generator)
    x = interpolate(x0, x1, torch.full((count,), time))
    at = torch.tensor([[0.9, 0.5]])
    near = (x - at).norm(dim=1) < 0.05
    average = (x1 - x0)[near].mean(0)
    error = (x1 - x0)[near].std(0) / near.sum().sqrt()
    expected = field(torch.tensor([time]), at)[0]
    # Four standard errors, and what the velocity varies over the neighbourhood.
    assert ((average - expected).abs() < 4 * error + 0.02).all()


def test_exact_flow_map_solves_the_ode_and_composes():
    field, exact = linear_gaussian((0.5, -1.0), 0.6)
    x = torch.randn(32, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s, r, t = (x.new_full((32,), value) for value in (0.2, 0.5, 0.9))
    assert torch.allclose(exact(s, t, x), solve(field, x, "rk4", 200, 0.2, 0.9), atol=1e-9)
    assert torch.allclose(exact(r, t, exact(s, r, x)), exact(s, t, x), atol=1e-12)
    assert torch.allclose(exact.velocity(s, x), field(s, x), atol=1e-12)


def test_the_end_of_the_flow_has_the_data_law():
    field = GaussianMixtureField(ring_means(4, 1.5), 0.2)
    x0 = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x1 = solve(field, x0, "rk4", 100)
    radius = x1.norm(dim=1)
    assert radius.mean().item() == pytest.approx((1.5**2 + 0.2**2) ** 0.5, abs=0.02)


def test_learned_field_is_never_asked_at_the_stiff_end():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, s, t, x):
            seen.append((s, t))
            return x

    LearnedField(Spy(), latest=0.999)(torch.tensor([0.5, 1.0]), torch.zeros(2, 2))
    s, t = seen[0]
    assert torch.equal(s, t)
    assert torch.allclose(t, torch.tensor([0.5, 0.999]))


def test_a_mixture_needs_a_width():
    with pytest.raises(ValueError, match="must be positive"):
        GaussianMixtureField(torch.zeros(1, 2), 0.0)


def classes_as_constants(s, t, x):
    """Velocity (class + 1, 0) everywhere; the null class is 2."""
    velocity = torch.zeros_like(x)
    velocity[:, 0] = current(len(x)) + 1
    return velocity


T, X = torch.tensor([0.1, 0.5, 0.9]), torch.zeros(3, 2)


def guided(**options):
    with bound(torch.tensor([0, 1, 0])):
        return GuidedField(classes_as_constants, 2, **options)(T, X)[:, 0].tolist()


def test_guidance_goes_on_from_the_null_class():
    # Null 3, with labels 1, 2, 1: 3 + w (v - 3).
    assert guided(scale=1.0) == [1.0, 2.0, 1.0]
    assert guided(scale=0.5) == [2.0, 2.5, 2.0]
    assert guided(scale=3.0) == [-3.0, 0.0, -3.0]


def test_outside_its_interval_guidance_is_off():
    assert guided(scale=3.0, interval=(0.4, 0.8)) == [1.0, 0.0, 1.0]


def test_the_ratio_aware_scale_falls_with_the_ratio():
    # Ratios 2/3, 1/3, 2/3.
    weights = [(v - 3) / d for v, d in zip(guided(scale=5.0, schedule="raag", alpha=3.0), (-2, -1, -2), strict=True)]
    expected = [1 + 4 * math.exp(-3 * ratio) for ratio in (2 / 3, 1 / 3, 2 / 3)]
    assert weights == pytest.approx(expected, rel=1e-5)
    assert guided(scale=5.0, schedule="raag", alpha=1e-6) == pytest.approx(guided(scale=5.0), rel=1e-4)


def test_guidance_without_labels_is_an_error_and_late_times_are_clamped():
    with pytest.raises(LabelsError, match="guidance needs"):
        GuidedField(classes_as_constants, 2, 1.0)(T, X)
    seen = []

    def network(s, t, x):
        seen.append(t.max().item())
        return x

    with bound(torch.zeros(3, dtype=torch.long)):
        GuidedField(network, 2, 1.0)(torch.ones(3), X)
    assert seen == [pytest.approx(1 - 1e-3)]
