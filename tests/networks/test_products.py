"""oneDNN's product in a linear layer's place: the same values and gradients, of whatever order and layout."""

import pytest
import torch
from torch import nn

from ttfm.flow.flow_map import FlowMap
from ttfm.networks import products
from ttfm.networks.dual import Linear
from ttfm.networks.mlp import MLP

has_onednn = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
pytestmark = pytest.mark.skipif(not has_onednn, reason="this torch has no oneDNN product")
WIDTH = products.LEAST


@pytest.fixture
def by(monkeypatch):
    """Say which library makes the products from here on."""
    return lambda onednn: monkeypatch.setattr(products, "onednn_is_faster", lambda: onednn)


def factors(*batch, bias=True, layers=()):
    generator = torch.Generator().manual_seed(0)
    shapes = [(*layers, *batch, WIDTH), (*layers, WIDTH + 8, WIDTH), (*layers, WIDTH + 8)][: 3 if bias else 2]
    found = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    return found if bias else [*found, None]


def close(one, other):
    return torch.allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("batch", "layers", "bias"), [((5,), (), True), ((2, 3), (), False), ((4,), (3,), True), ((4,), (3,), False)]
)
def test_values_and_gradients_are_those_of_torch(batch, layers, bias, by):
    wanted = [value for value in factors(*batch, bias=bias, layers=layers) if value is not None]
    found = []
    for onednn in (False, True):
        by(onednn)
        inputs = wanted if bias else [*wanted, None]
        value = products.product(*inputs)
        weights = torch.linspace(-1, 1, value.numel()).reshape(value.shape)
        gradients = torch.autograd.grad((weights * value).sum(), wanted, create_graph=True)
        # A gradient of gradients, as of a penalty on them.
        second = torch.autograd.grad(gradients[0].square().sum(), wanted[1])
        with torch.no_grad():
            plain = products.product(*inputs)
        assert torch.equal(plain, value)
        found.append([value, *gradients, *second])
    assert found[0][0].shape == (*layers, *batch, WIDTH + 8)
    assert all(close(one, other) for one, other in zip(*found, strict=True))


def test_a_network_has_the_same_derivatives(by):
    torch.manual_seed(0)
    network = MLP((2,), width=WIDTH, depth=3)
    s, t, x = torch.rand(7), torch.rand(7), torch.randn(7, 2)
    found = []
    for onednn in (False, True):
        by(onednn)
        value, tangent = FlowMap(network).eulerian(s, t, x, torch.ones_like(x))
        gradients = torch.autograd.grad((value + tangent).square().sum(), list(network.parameters()), allow_unused=True)
        found.append([value, tangent, *(gradient for gradient in gradients if gradient is not None)])
    assert len(found[0]) > 8
    assert all(close(one, other) for one, other in zip(*found, strict=True))


def test_what_the_library_is_not_for_is_left_to_torch(by, monkeypatch):
    def never(*arguments):
        raise AssertionError("oneDNN's product was taken")

    by(True)
    monkeypatch.setattr(products, "_onednn", never)
    x, narrow, wide = torch.randn(3, WIDTH), Linear(WIDTH, 2), Linear(WIDTH, WIDTH)
    assert torch.equal(narrow(x), nn.functional.linear(x, narrow.weight, narrow.bias))
    assert wide.double()(x.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert wide.float()(x).dtype == torch.bfloat16
    with pytest.raises(AssertionError, match="was taken"):
        wide(x)


@pytest.mark.parametrize(
    ("able", "faster"),
    [
        ({"avx512_f": True, "cpu_name": "AMD EPYC"}, True),
        ({"avx512_f": True, "cpu_name": "Intel(R) Xeon(R)"}, False),
        ({"avx512_f": False, "cpu_name": "AMD EPYC"}, False),
        ({}, False),
    ],
)
def test_the_choice_follows_the_processor_alone(able, faster, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    products.onednn_is_faster.cache_clear()
    assert products.onednn_is_faster() is faster
    products.onednn_is_faster.cache_clear()
