"""Sources against what they are meant to be."""

import math

import pytest
import torch

from ttfm.data.densities import Moons, Ring
from ttfm.data.digits import Digits, load
from ttfm.data.images import Images
from ttfm.data.sources import PFGM, SOURCES, Gaussian, NormAligned, Pruned
from ttfm.seeds import indexed_noise


def drawn(source, shape=(2,), count=4000):
    return source.sample(lambda j: indexed_noise(0, count, shape, "test", j))


def test_the_gaussian_is_the_noise_itself():
    assert torch.equal(drawn(Gaussian()), indexed_noise(0, 4000, (2,), "test"))


@pytest.mark.parametrize("name", SOURCES)
def test_a_state_belongs_to_its_index(name):
    source = SOURCES[name](Ring())
    assert torch.allclose(drawn(source)[:100], drawn(source, count=100), atol=1e-6)


def test_norms_are_those_of_the_data():
    ring = drawn(NormAligned(Ring()))
    assert ring.square().sum(1).mean().sqrt().item() == pytest.approx(math.sqrt(4 + 2 * 0.15**2), rel=0.03)
    digits = Images(Digits().read().splits["train"].images, maximum=Digits.maximum)
    images = drawn(NormAligned(digits), (1, 8, 8), 500)
    assert images.square().mean().item() == pytest.approx(load("train")[0].square().mean().item(), rel=0.05)


def test_directions_without_data_are_left_out():
    class Right:
        def sample(self, count, generator):
            return torch.tensor([[1.0, 0.0]]).repeat(count, 1)

    x = drawn(Pruned(Right(), pruned=0.5))
    # The half plane around the one direction of the data is kept, with normal norms.
    assert (x[:, 0] > -0.05).all()
    assert x.square().sum(1).mean().item() == pytest.approx(2, rel=0.06)
    assert torch.equal(drawn(Pruned(Right(), pruned=0.0)), drawn(Gaussian()))


def test_the_pfgm_prior_has_its_tails_and_becomes_normal():
    light = drawn(PFGM(Moons(), dimensions=100_000))
    assert (light - drawn(Gaussian())).abs().max() < 0.01
    # In two dimensions with r^2 = D = 3: P(R > c) = (1 + c^2 / 3)^(-3/2).
    radius = drawn(PFGM(Moons(), dimensions=3), count=20_000).norm(dim=1)
    for c in (1.0, 3.0, 8.0):
        assert (radius > c).float().mean().item() == pytest.approx((1 + c**2 / 3) ** -1.5, abs=0.01)
