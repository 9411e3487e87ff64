"""The averages against the recursions and integrals that define them."""

import numpy as np
import pytest
import torch

from ttfm.networks.mlp import MLP
from ttfm.training.ema import EMA, PowerEMA, power_of_width


def network():
    torch.manual_seed(0)
    return MLP((2,), width=8, depth=2)


def test_the_fused_update_is_the_plain_one_up_to_rounding():
    net = network()
    average = EMA(net, 0.9)
    plain = [p.clone() for p in average.network.parameters()]
    for k in range(12):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        average.update()
        decay = min(0.9, (1 + k) / (10 + k))
        plain = [decay * a + (1 - decay) * p.detach() for a, p in zip(plain, net.parameters(), strict=True)]
    for fused, reference in zip(average.network.parameters(), plain, strict=True):
        # A few units in the last place of numbers below eight.
        assert (fused - reference).abs().max() < 4 * 2**-21


def test_widths_of_the_source_have_its_exponents():
    assert power_of_width(0.10) == pytest.approx(6.94, abs=5e-3)
    assert power_of_width(0.05) == pytest.approx(16.97, abs=5e-3)
    with pytest.raises(ValueError, match=r"relative width of 0\.3"):
        power_of_width(0.3)


def test_the_power_function_average_weights_iterates_by_their_time():
    net = network()
    average, iterates = PowerEMA(net, 0.1), []
    for _ in range(400):
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(torch.randn_like(p))
        average.update()
        iterates.append(net.first.weight.detach().double().numpy().copy())
    times = np.arange(1, 401)
    # The profile integrated over each interval, which the weight at its end stands for.
    weights = (times / 400.0) ** (average.power + 1) - ((times - 1) / 400.0) ** (average.power + 1)
    expected = np.tensordot(weights, np.stack(iterates), axes=1)
    assert np.allclose(average.network.first.weight.numpy(), expected, atol=1e-5)
    # Its standard deviation is the width asked for.
    centre = (weights * times).sum()
    assert np.sqrt((weights * (times - centre) ** 2).sum()) / 400 == pytest.approx(0.1, rel=0.01)
