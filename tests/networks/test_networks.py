"""Every network as a two-timed model: derivatives, start, and what the diagonal may move."""

import copy

import pytest
import torch
from torch import nn

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.labels import LabelsError, bound
from ttfm.networks.attention import RMSNorm
from ttfm.networks.dit import DiT, positions
from ttfm.networks.dual import Conv2d, LayerNorm, Linear
from ttfm.networks.mlp import MLP
from ttfm.networks.unet import UNet

CASES = {
    "mlp": (lambda: MLP((2,), width=16, depth=3), (2,)),
    "unet": (lambda: UNet((1, 8, 8), channels=8, multipliers=[1, 2], patch=2, embedding=16), (1, 8, 8)),
    "unet-attention": (
        lambda: UNet((1, 8, 8), channels=8, multipliers=[1, 2], embedding=16, attention=[4], heads=2),
        (1, 8, 8),
    ),
    "dit": (lambda: DiT((2, 8, 8), width=16, depth=2, heads=2, patch=4), (2, 8, 8)),
    "unet-labels": (lambda: UNet((1, 8, 8), channels=8, embedding=16, attention=[4], heads=2, classes=2), (1, 8, 8)),
    "dit-labels": (lambda: DiT((2, 8, 8), width=16, depth=2, heads=2, patch=4, classes=2), (2, 8, 8)),
    "unet-no-patch": (lambda: UNet((2, 8, 8), channels=8, multipliers=[1, 2], embedding=16), (2, 8, 8)),
}


@pytest.fixture(params=CASES)
def case(request):
    build, shape = CASES[request.param]
    torch.manual_seed(0)
    network = build().double()
    # Zero-initialised layers would hide a wrong derivative.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    s, t = torch.rand(2, 3, dtype=torch.float64).sort(dim=0).values
    # The two classes and the null class; networks without classes do not ask.
    with bound(torch.arange(3)):
        yield network, s * 0.9, t, torch.randn(3, *shape, dtype=torch.float64)


def central(function, h=1e-5):
    return (function(h) - function(-h)) / (2 * h)


def test_lagrangian_derivative_against_central_differences(case):
    network, s, t, x = case
    u, dudt = FlowMap(network).lagrangian(s, t, x)
    assert torch.allclose(u, network(s, t, x), atol=1e-12)
    assert torch.allclose(dudt, central(lambda h: network(s, t + h, x)), atol=1e-7)
    assert dudt.abs().max() > 1e-3


def test_eulerian_derivative_against_central_differences(case):
    network, s, t, x = case
    v = torch.randn_like(x)
    _, derivative = FlowMap(network).eulerian(s, t, x, v)
    assert torch.allclose(derivative, central(lambda h: network(s + h, t, x + h * v)), atol=1e-7)


def test_gradient_through_the_derivative_against_central_differences(case):
    network, s, t, x = case
    flow_map = FlowMap(network)
    parameters = list(network.parameters())

    def value():
        return flow_map.lagrangian(s, t, x)[1].square().sum()

    gradients = torch.autograd.grad(value(), parameters, allow_unused=True)
    direction = [torch.randn_like(p) for p in parameters]
    analytic = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True) if g is not None)

    @torch.no_grad()
    def shifted(h):
        for p, d in zip(parameters, direction, strict=True):
            p.add_(h * d)
        result = value()
        for p, d in zip(parameters, direction, strict=True):
            p.sub_(h * d)
        return result

    assert analytic.item() == pytest.approx(central(shifted, 1e-6).item(), rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_velocity_learned_on_the_diagonal_is_the_map_at_step_zero(name):
    build, shape = CASES[name]
    torch.manual_seed(0)
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    before = copy.deepcopy(network.state_dict())
    for _ in range(3):
        s, x = torch.rand(4), torch.randn(4, *shape)
        loss = (network(s, s, x) - torch.randn_like(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert any(not torch.equal(before[k], v) for k, v in network.state_dict().items())
    s, x = torch.rand(4) * 0.5, torch.randn(4, *shape)
    assert torch.equal(network(s, s, x), network(s, s + 0.4, x))


@pytest.mark.parametrize("name", CASES)
def test_a_velocity_is_the_map_over_an_empty_interval_to_the_bit(name):
    build, shape = CASES[name]
    torch.manual_seed(0)
    network = build()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    t, x = torch.rand(4), torch.randn(4, *shape)
    with torch.no_grad():
        assert torch.equal(network(t, t, x), network(t, t.clone(), x))
    output = network(t, t, x)
    assert torch.equal(output, network(t, t.clone(), x))
    # An optimizer leaves out a weight without a gradient, and would then forget what it knows of it at another pace.
    output.sum().backward()
    (gap,) = (value.grad for key, value in network.named_parameters() if key.endswith("gap.weight"))
    assert gap is not None and not gap.any()


LAYERS = {
    "linear of tokens": (lambda bias: (Linear(5, 3, bias=bias), nn.Linear(5, 3, bias=bias)), (4, 7, 5)),
    "linear": (lambda bias: (Linear(5, 3, bias=bias), nn.Linear(5, 3, bias=bias)), (4, 5)),
    "conv": (
        lambda bias: (Conv2d(2, 3, 3, padding=1, bias=bias), nn.Conv2d(2, 3, 3, padding=1, bias=bias)),
        (2, 2, 6, 6),
    ),
    "strided": (lambda bias: (Conv2d(2, 3, 2, 2, bias=bias), nn.Conv2d(2, 3, 2, 2, bias=bias)), (2, 2, 6, 6)),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_torchs_in_value_gradient_and_tangent(name, bias):
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    ours, theirs = (layer.double() for layer in build(bias))
    theirs.load_state_dict(ours.state_dict())
    x, v = torch.randn(shape, dtype=torch.float64, requires_grad=True), torch.randn(shape, dtype=torch.float64)
    results = []
    for layer in (ours, theirs):
        with torch.autograd.forward_ad.dual_level():
            output = layer(torch.autograd.forward_ad.make_dual(x, v))
            primal, tangent = torch.autograd.forward_ad.unpack_dual(output)
        total = (primal.sin() * tangent.square()).sum()
        results.append([primal, tangent, layer(x.detach()), *torch.autograd.grad(total, [x, *layer.parameters()])])
    for mine, reference in zip(*results, strict=True):
        assert torch.allclose(mine, reference, atol=1e-12)


def test_layer_norm_is_torchs_in_value_and_its_tangent_can_be_differentiated():
    x, v = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    w = torch.randn(8, 8, dtype=torch.float64, requires_grad=True)
    norm, theirs = LayerNorm(), nn.LayerNorm(8, eps=1e-6, elementwise_affine=False).double()

    def tangent(layer):
        with torch.autograd.forward_ad.dual_level():
            output = torch.autograd.forward_ad.unpack_dual(layer(torch.autograd.forward_ad.make_dual(x, v) @ w))
        assert torch.allclose(output.primal, theirs(x @ w), atol=1e-12)
        return output.tangent

    assert torch.allclose(tangent(norm), tangent(theirs), atol=1e-12)
    direction = torch.randn_like(w)
    (gradient,) = torch.autograd.grad(tangent(norm).square().sum(), w)

    @torch.no_grad()
    def shifted(h):
        w.add_(h * direction)
        value = tangent(norm).square().sum()
        w.sub_(h * direction)
        return value

    assert (gradient * direction).sum().item() == pytest.approx(central(shifted).item(), rel=1e-6)


def test_an_image_that_cannot_be_halved_is_refused_by_name():
    with pytest.raises(ValueError, match="multipliers, patch: 6x6"):
        UNet((1, 6, 6), multipliers=[1, 2, 2])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DiT((1, 6, 6), width=16, heads=2, patch=4), "patch: 6x6 images"),
        (lambda: DiT((1, 8, 8), width=16, heads=3, patch=4), "heads: 16 channels"),
        (lambda: UNet((1, 8, 8), channels=8, attention=[4], heads=3), "heads: 16 channels"),
    ],
)
def test_what_does_not_divide_is_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_attention_sits_where_it_is_asked_and_changes_nothing_at_first():
    torch.manual_seed(0)
    plain = UNet((1, 16, 16), channels=8, multipliers=[1, 2, 2])
    attentive = UNet((1, 16, 16), channels=8, multipliers=[1, 2, 2], attention=[8], heads=2)
    found = [name for name, module in attentive.named_modules() if type(module).__name__ == "SpatialAttention"]
    assert len(found) == 1 + 2 + 1
    names = {name.replace(".block.", "."): value for name, value in attentive.state_dict().items()}
    plain.load_state_dict({name: names[name] for name in plain.state_dict()})
    s, x = torch.rand(3), torch.randn(3, 1, 16, 16)
    for network in (plain, attentive):
        nn.init.constant_(network.head.weight, 0.1)
    assert torch.allclose(plain(s, s, x), attentive(s, s, x))


def test_positions_tell_all_places_apart():
    table = positions(5, 7, 16)
    assert table.shape == (35, 16)
    assert torch.cdist(table, table).add(torch.eye(35)).min() > 0.05


def test_rms_norm_is_the_formula():
    x, norm = torch.randn(3, 8), RMSNorm(8)
    assert torch.allclose(norm(5 * x), x / x.square().mean(-1, keepdim=True).sqrt(), atol=1e-5)


def test_a_transformer_sees_the_order_of_its_patches():
    torch.manual_seed(0)
    network = DiT((1, 8, 8), width=16, depth=2, heads=2, patch=4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    s, x = torch.rand(2), torch.randn(2, 1, 8, 8)
    assert not torch.allclose(network(s, s, x.roll(4, 3)), network(s, s, x).roll(4, 3), atol=1e-3)


@pytest.mark.parametrize("name", ["unet-labels", "dit-labels"])
def test_a_label_is_its_samples_own_and_none_is_the_null_class(name):
    build, shape = CASES[name]
    torch.manual_seed(0)
    network = build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    s, x = torch.rand(2), torch.randn(2, *shape)
    with bound(torch.tensor([0, 2])):
        mixed = network(s, s, x)
    with bound(torch.tensor([1, 2])):
        other = network(s, s, x)
    assert not torch.allclose(mixed[0], other[0], atol=1e-4)
    assert torch.allclose(mixed[1], other[1], atol=1e-6)
    assert torch.allclose(mixed[1], network(s, s, x)[1], atol=1e-6)
    with bound(torch.tensor([0, 1, 0])), pytest.raises(LabelsError, match="3 samples"):
        network(s, s, x)


def test_classes_add_one_table_and_nothing_else():
    torch.manual_seed(0)
    plain = UNet((1, 8, 8), channels=8, embedding=16)
    labelled = UNet((1, 8, 8), channels=8, embedding=16, classes=3)
    assert set(labelled.state_dict()) - set(plain.state_dict()) == {"labels.table.weight"}
