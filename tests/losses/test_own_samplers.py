"""Losses that bring their own sampler."""

from functools import partial

import pytest
import torch

from ttfm.data.densities import Ring
from ttfm.evaluation.diagnostics import velocity_path
from ttfm.evaluation.distances import energy_distance
from ttfm.flow.fields import GaussianMixtureField, LinearGaussianField
from ttfm.flow.schedules import optimal_schedules
from ttfm.flow.solvers import solve
from ttfm.losses import load_modules
from ttfm.networks.dit import DiT
from ttfm.networks.mlp import MLP
from ttfm.networks.unet import UNet
from ttfm.seeds import indexed_noise
from ttfm.training.trainer import Trainer, TrainingOptions

LOSSES = load_modules()


def noise(count, shape=(2,)):
    return lambda i: indexed_noise(1, count, shape, "test", i)


def trained(loss, iterations, data, teacher=None):
    torch.manual_seed(0)
    model = loss.wrap(MLP((2,), 64, 3), (2,))
    options = TrainingOptions(iterations, 256, 3e-3, ema=0.98, probe_every=0)
    trainer = Trainer(model, loss, data, teacher, options, 0)
    for _ in trainer.run():
        pass
    return trainer.evaluation.network.eval()


def test_transitions_are_drawn_and_reach_the_data():
    loss, ring = LOSSES["dtm"](), Ring()
    model = trained(loss, 600, ring)
    x0, real = noise(1000)(0), ring.sample(1000, torch.Generator().manual_seed(5))
    with torch.no_grad():
        few, many = (loss.sample(model, x0, k, noise(1000), None) for k in (1, 8))
        again = loss.sample(model, x0, 8, noise(1000), None)
    assert torch.equal(many, again)
    start = energy_distance(x0, real)
    assert energy_distance(many, real) < 0.15 * start
    # One drawn transition already has the data's spread; its mean, whatever the noise, is the origin.
    assert few.norm(dim=1).mean() > 1.5


@pytest.mark.parametrize(
    "network", [partial(UNet, channels=8, multipliers=[1, 2]), partial(DiT, width=8, depth=2, heads=2)]
)
def test_the_head_reads_images_at_every_position(network):
    loss, shape = LOSSES["dtm"](head_steps=2), (3, 8, 12)
    model = loss.wrap(network(shape), shape)
    x0 = noise(4, shape)(0)
    with torch.no_grad():
        assert loss.sample(model, x0, 2, noise(4, shape), None).shape == (4, *shape)


def test_a_patch_of_a_transformer_is_known_where_it_lies():
    model = LOSSES["dtm"]().wrap(DiT((1, 4, 8), width=8, depth=2, heads=2, patch=2), (1, 4, 8))
    tokens = torch.arange(8.0)[None, :, None].expand(1, 8, 8)
    model.backbone.with_features = lambda s, t, x: (torch.zeros_like(x), tokens)
    known = model.condition(torch.zeros(1), torch.zeros(1, 1, 4, 8))
    assert known.shape == (1, 9, 4, 8)
    assert known[0, 1, ::2, ::2].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert known[0, 8, 1::2, 1::2].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_without_refiner_it_is_a_pseudo_corrector_of_second_order_with_one_evaluation_per_step():
    field, loss = (
        LinearGaussianField(torch.tensor([1.0, 0.5], dtype=torch.float64), 0.5),
        LOSSES["flowturbo"](refined=0.0),
    )
    asked = []
    teacher = lambda t, x: asked.append(len(t)) or field(t, x)  # noqa: E731
    model = loss.wrap(MLP((2,), 8, 2), (2,)).double()
    x0 = torch.randn(50, 2, dtype=torch.float64)
    zeros = x0.new_zeros(50)
    exact = field.flow_map(zeros, zeros + 1, x0)
    errors = []
    for steps in (1, 16, 32):
        asked.clear()
        sample = loss.sample(model, x0, steps, noise(50), teacher)
        assert len(asked) == steps
        errors.append((sample - exact).square().sum(1).mean().sqrt().item())
    assert torch.allclose(loss.sample(model, x0, 1, noise(50), field), solve(field, x0, "euler", 1))
    euler = (solve(field, x0, "euler", 32) - exact).square().sum(1).mean().sqrt().item()
    assert errors[2] < 0.6 * euler
    assert errors[2] < errors[1] / 1.8


def test_the_refiner_learns_the_change_of_velocity_and_saves_evaluations():
    ring = Ring()
    loss = LOSSES["flowturbo"](refined=0.5, longest=0.2, width=64)
    model = trained(loss, 1500, ring, ring.field())
    untrained = loss.wrap(MLP((2,), 64, 3), (2,)).eval()
    x0 = noise(500)(0)
    fine = solve(ring.field(), x0, "rk4", 64)
    asked = []
    teacher = lambda t, x: asked.append(len(t)) or ring.field()(t, x)  # noqa: E731
    with torch.no_grad():
        error = {
            name: (loss.sample(m, x0, 8, noise(500), teacher) - fine).square().sum(1).mean().sqrt().item()
            for name, m in (("trained", model), ("untrained", untrained))
        }
    assert len(asked) == 2 * 5
    assert error["trained"] < 0.7 * error["untrained"]


def test_a_loss_without_its_own_sampler_says_so():
    with pytest.raises(NotImplementedError, match="'lfmd' learns 'any_to_any'"):
        LOSSES["lfmd"]().sample(MLP((2,), 8, 2), torch.zeros(1, 2), 1, noise(1), None)


def test_the_best_steps_reach_further_than_equal_ones():
    field = GaussianMixtureField(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), 0.1)
    x0, grid = noise(500)(0), torch.linspace(0, 1, 65)
    path = velocity_path(field, x0, grid)
    loss, network = LOSSES["boss"](), Velocity(field)
    fresh = noise(500)(7)
    fine = velocity_path(field, fresh, grid)[-1]
    error = {}
    for name, schedules in (("equal", None), ("best", optimal_schedules(grid, path, most=8))):
        model = loss.wrap(network, (2,), schedules)
        assert len(model.schedule(4)) == 5
        samples = loss.sample(model, fresh, 8, noise(500), field)
        error[name] = (samples - fine).square().sum(1).mean().sqrt().item()
    assert error["best"] < 0.95 * error["equal"]


def test_schedules_are_kept_with_the_weights():
    loss = LOSSES["boss"]()
    schedules = {4: torch.tensor([0.0, 0.1, 0.2, 0.3, 1.0])}
    kept = loss.wrap(MLP((2,), 8, 2), (2,), schedules).state_dict()
    model = loss.wrap(MLP((2,), 8, 2), (2,))
    model.load_state_dict(kept)
    assert torch.equal(model.schedule(4), schedules[4])
    assert torch.equal(model.schedule(2), torch.tensor([0.0, 0.5, 1.0]))


class Velocity(torch.nn.Module):
    def __init__(self, field):
        super().__init__()
        self.field = field
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, s, t, x):
        return self.field(s, x)
