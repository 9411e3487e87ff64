"""Low precision ends at the network's boundary and loses no gradient."""

import pytest
import torch

from ttfm.flow.fields import LearnedField
from ttfm.flow.flow_map import FlowMap
from ttfm.flow.precision import evaluate, fastest
from ttfm.networks.dit import DiT
from ttfm.networks.unet import UNet

NETWORKS = {
    "unet": lambda: UNet((1, 8, 8), channels=8, embedding=16, attention=[4], heads=2),
    "dit": lambda: DiT((1, 8, 8), width=16, depth=2, heads=2, patch=4),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    built = NETWORKS[request.param]()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return built


def inputs():
    s, t = torch.rand(2, 3, generator=torch.Generator().manual_seed(0)).sort(dim=0).values
    return s, t, torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


def test_outputs_are_full_precision_and_close(network):
    s, t, x = inputs()
    low, full = evaluate(network, s, t, x, "bfloat16"), network(s, t, x)
    assert low.dtype == torch.float32
    # Not equal, or nothing was computed in low precision; eight bits leave a per cent or so.
    assert 1e-5 < relative(low, full) < 0.05
    assert LearnedField(network, precision="bfloat16")(s, x).dtype == torch.float32


def test_a_target_evaluated_first_keeps_no_gradient_from_the_student(network):
    s, t, x = inputs()
    low = FlowMap(network, "bfloat16")

    def gradient(flow_map):
        with torch.no_grad():
            goal = flow_map.average_velocity(s, t, x)
        error = (flow_map.average_velocity(s, t, x) - 0.5 * goal).square().sum()
        return torch.cat([g.flatten() for g in torch.autograd.grad(error, list(network.parameters()))])

    assert relative(gradient(low), gradient(FlowMap(network))) < 0.1


def test_derivatives_are_taken_in_full_precision(network):
    s, t, x = inputs()
    for low, full in zip(
        FlowMap(network, "bfloat16").lagrangian(s, t, x), FlowMap(network).lagrangian(s, t, x), strict=True
    ):
        assert torch.equal(low, full)


def test_times_are_embedded_in_full_precision(network):
    s = torch.tensor([0.5])
    with torch.autocast("cpu", torch.bfloat16):
        near = network.times(s, s + 1e-3) - network.times(s, s)
        assert near.dtype == torch.float32
    assert torch.equal(near, network.times(s, s + 1e-3) - network.times(s, s))


@pytest.mark.parametrize(("able", "expected"), [({}, "float32"), ({"amx_bf16": True}, "bfloat16")])
def test_auto_is_what_the_device_is_fast_at(network, monkeypatch, able, expected):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx2": True, "avx512_bf16": False} | able)
    fastest.cache_clear()
    try:
        assert fastest("cpu") == expected
        assert fastest("cuda") == "bfloat16"
        assert torch.equal(evaluate(network, *inputs(), "auto"), evaluate(network, *inputs(), expected))
    finally:
        fastest.cache_clear()
