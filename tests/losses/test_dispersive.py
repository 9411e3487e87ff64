"""The dispersive option of MeanFlow."""

import pytest
import torch

from tests.exact import linear_gaussian, make_batch
from ttfm.flow.fields import LinearGaussianField
from ttfm.flow.flow_map import FlowMap
from ttfm.losses.dispersive import dispersion
from ttfm.losses.meanflow import MeanFlow
from ttfm.losses.meanflow_distill import MeanFlowDistillation
from ttfm.networks.mlp import MLP
from ttfm.networks.unet import UNet

FIELD = LinearGaussianField(torch.zeros(2), 0.5)


def test_dispersion_is_the_log_mean_of_the_kernel():
    z = torch.randn(5, 2, 3, dtype=torch.float64)
    flat = z.flatten(1)
    distances = (flat[:, None] - flat[None]).square().sum(2)
    expected = (-distances / (6 * 0.5)).exp().mean().log()
    assert torch.allclose(dispersion(z, 0.5), expected.expand(5))


def test_dispersion_falls_as_features_spread():
    z = torch.randn(16, 4)
    assert dispersion(torch.zeros(16, 4), 0.5)[0] == pytest.approx(0, abs=1e-6)
    assert dispersion(z, 0.5)[0] > dispersion(2 * z, 0.5)[0]


@pytest.mark.parametrize("loss", [MeanFlow, MeanFlowDistillation])
def test_the_option_adds_a_term_and_changes_nothing_else(loss):
    student = FlowMap(MLP((2,), 16, 2))
    outcomes = []
    for weight in (0.0, 0.5):
        chosen = loss(dispersive=weight)
        terms = chosen.terms(make_batch(FIELD, 32, dtype=torch.float32), student, None, FIELD)
        outcomes.append((chosen, terms))
    (_, without), (chosen, terms) = outcomes
    assert set(without) == {"eulerian"}
    assert set(terms) == {"eulerian", "dispersive"}
    assert torch.equal(terms["eulerian"], without["eulerian"])
    assert terms["dispersive"].shape == (32,)
    expected = terms["eulerian"].mean() + 0.5 * terms["dispersive"].mean()
    assert torch.allclose(chosen.total(terms), expected)
    gradient = torch.autograd.grad(terms["dispersive"].mean(), student.network.first.weight)[0]
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("network", "shape", "features"),
    [
        (MLP((2,), 16, 3), (2,), (16,)),
        (MLP((2,), 16, 1), (2,), (16,)),
        (UNet((1, 8, 8), channels=8, embedding=16), (1, 8, 8), (16, 4, 4)),
    ],
)
def test_networks_declare_their_features(network, shape, features):
    model, times, x = FlowMap(network), torch.rand(2, 5).sort(0).values, torch.randn(5, *shape)
    u, hidden = model.with_features(*times, x)
    assert torch.equal(u, model.average_velocity(*times, x))
    assert hidden.shape == (5, *features)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_without_features_is_refused():
    field, exact = linear_gaussian()
    with pytest.raises(TypeError, match="Exact declares no hidden features"):
        MeanFlow(dispersive=0.5).terms(make_batch(field, 8), exact, None, None)
