"""The choices of teachers: times, interpolants, couplings, weights, segments, reconstruction."""

import itertools

import pytest
import torch

from tests.exact import Exact, linear_gaussian, make_batch
from ttfm.data.densities import Ring
from ttfm.flow.flow_map import FlowMap
from ttfm.losses import load_modules
from ttfm.losses.blockwise import Segments
from ttfm.losses.fm import FlowMatching, optimally_coupled
from ttfm.losses.wcfm import WeightedFlowMatching
from ttfm.networks.mlp import MLP
from ttfm.training.trainer import Trainer, TrainingOptions

LOSSES = load_modules()


@pytest.mark.parametrize(
    ("time", "median", "quartile"), [("uniform", 0.5, 0.75), ("logit_normal", 0.5, 0.6625), ("skewed", 0.7685, 0.8818)]
)
def test_times_have_their_density(time, median, quartile):
    field, _ = linear_gaussian()
    times = FlowMatching(time=time).path_time(make_batch(field, 100_000))
    assert times.min() >= 0 and times.max() <= 1
    assert times.median().item() == pytest.approx(median, abs=0.01)
    assert times.quantile(0.75).item() == pytest.approx(quartile, abs=0.01)


def test_optimal_coupling_is_the_cheapest_permutation_and_keeps_the_noise():
    x0, x1 = torch.randn(2, 6, 3, dtype=torch.float64)
    coupled = optimally_coupled(x0, x1, group=6)
    cost = lambda x: (x - x1).square().sum().item()  # noqa: E731
    cheapest = min(cost(x0[list(order)]) for order in itertools.permutations(range(6)))
    assert cost(coupled) == pytest.approx(cheapest)
    assert torch.equal(coupled.sort(0).values, x0.sort(0).values)
    # Groups are coupled apart, and a smaller one may be left over.
    parts = torch.cat([optimally_coupled(a, b, 4) for a, b in zip(x0.split(4), x1.split(4), strict=True)])
    assert torch.equal(optimally_coupled(x0, x1, group=4), parts)


def test_optimal_coupling_straightens_the_teachers_paths():
    def trained(coupling):
        torch.manual_seed(0)
        options = TrainingOptions(400, 256, 2e-3, ema=0.98, probe_every=0)
        trainer = Trainer(MLP((2,), 64, 3), FlowMatching(coupling=coupling), Ring(), None, options, 0)
        for _ in trainer.run():
            pass
        x0 = torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))
        network, zeros = trainer.evaluation.network, torch.zeros(2000)
        one_step = x0 + network(zeros, zeros, x0)
        distance = torch.cdist(one_step, Ring().means).amin(1)
        return distance.square().mean().sqrt().item()

    assert trained("ot") < 0.7 * trained("independent")


def test_weights_have_mean_one_and_favour_close_pairs():
    x0, x1 = torch.randn(2, 500, 2)
    weight = WeightedFlowMatching(epsilon=0.5).weight(x0, x1)
    assert weight.mean().item() == pytest.approx(1, abs=1e-5)
    near = (x1 - x0).norm(dim=1) < (x1 - x0).norm(dim=1).median()
    assert weight[near].mean() > 2 * weight[~near].mean()


def test_each_segment_sees_its_own_times_only():
    class Which(torch.nn.Module):
        value = 0.0

        def forward(self, s, t, x):
            return x + self.value

    model = Segments(Which(), 4)
    for value, block in enumerate(model.blocks):
        block.value = 10.0 * value
    s = torch.tensor([0.9, 0.1, 0.3, 1.0, 0.0, 0.25])
    x = torch.arange(6.0)[:, None]
    assert (model(s, s, x) - x)[:, 0].tolist() == [30, 0, 10, 30, 0, 10]


def test_segments_start_alike_and_part_in_training():
    net = MLP((2,), 8, 2)
    model = LOSSES["blockwise"](segments=3).wrap(net, (2,))
    s, x = torch.rand(50), torch.randn(50, 2)
    assert torch.allclose(model(s, s, x), net(s, s, x))
    model(s.clamp(max=0.3), s, x).square().sum().backward()
    reached = [any(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters()) for block in model.blocks]
    assert reached == [True, False, False]


def test_reconstruction_vanishes_for_the_exact_velocity_as_steps_grow():
    field, _ = linear_gaussian(mean=(1.0, 0.0))

    class Velocity(Exact):
        def forward(self, s, t, x):
            return self.field(s, x)

    exact, batch = FlowMap(Velocity(field)), make_batch(field, 512)
    loss = lambda steps: LOSSES["mle"](steps=steps, fine=32).terms(batch, exact, exact, None)["reconstruction"].mean()  # noqa: E731
    few, many = loss(8).item(), loss(16).item()
    assert many == pytest.approx(few / 4, rel=0.3)
