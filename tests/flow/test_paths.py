"""Other Gaussian paths, and their translation to the linear one."""

import pytest
import torch

from ttfm.flow.fields import LinearGaussianField
from ttfm.flow.paths import LATEST, PATHS, on_the_linear_path

TAU = torch.linspace(0.01, 0.98, 50, dtype=torch.float64)


@pytest.mark.parametrize("name", PATHS)
def test_slopes_are_the_derivatives_and_the_ends_are_noise_and_data(name):
    path, h = PATHS[name], 1e-6
    alpha, sigma, rise, fall = path(TAU)
    after, before = path(TAU + h), path(TAU - h)
    assert torch.allclose(rise, (after[0] - before[0]) / (2 * h), rtol=1e-5)
    assert torch.allclose(fall, (after[1] - before[1]) / (2 * h), rtol=1e-5)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha))
    ends = path(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert ends[0][0] < 0.01 and ends[1][0] > 0.99
    assert ends[0][1] > 0.99 and ends[1][1] < 0.02
    assert torch.isfinite(torch.stack(path(torch.tensor([LATEST, 1.0])))).all()


@pytest.mark.parametrize("name", PATHS)
def test_the_velocity_of_a_path_is_that_of_the_linear_path_after_a_change_of_time_and_scale(name):
    """Against the closed form: both marginal velocities of a Gaussian follow from its moments."""
    std, mean = 0.3, torch.tensor([1.0, -2.0], dtype=torch.float64)
    path = PATHS[name]
    alpha, sigma, rise, fall = (value[:, None] for value in path(TAU))
    x = torch.randn(len(TAU), 2, dtype=torch.float64)
    # E[alpha' x1 + sigma' x0 | x], by conditioning of Gaussians.
    variance = alpha**2 * std**2 + sigma**2
    direct = rise * mean + (rise * alpha * std**2 + fall * sigma) / variance * (x - alpha * mean)
    t, factor = on_the_linear_path(path, TAU)
    total = alpha + sigma
    linear = LinearGaussianField(mean, std)(t, x / total)
    speed = (rise * sigma - alpha * fall) / total
    assert torch.allclose(direct, (rise + fall) / total * x + speed * linear, atol=1e-9)
    assert torch.allclose(factor, speed[:, 0] ** 2)
