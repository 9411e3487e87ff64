"""Losses on stored trajectories: what they ask for, and their own fixed points."""

import dataclasses

import pytest
import torch

from tests.exact import linear_gaussian, make_batch
from ttfm.flow.flow_map import FlowMap
from ttfm.flow.schedules import optimal_schedule
from ttfm.losses import load_modules
from ttfm.networks.mlp import MLP

LOSSES = load_modules()
FIELD, EXACT = linear_gaussian((0.4, -0.2), 0.3)


class Spy(torch.nn.Module):
    """Remembers the times it is asked at; its velocity is that of ``answer``, or zero."""

    def __init__(self, answer=None):
        super().__init__()
        self.answer, self.asked = answer, []

    def forward(self, s, t, x):
        self.asked.append((s, t))
        return torch.zeros_like(x) if self.answer is None else self.answer(s, t, x)


def straight(s, t, x):
    """The velocity of the lines between the pairs of a linear-Gaussian flow, x1 = m + std x0."""
    mean, std, time = FIELD.means[0], FIELD.std, s[:, None]
    x0 = (x - time * mean) / (1 - time + time * std)
    return mean + (std - 1) * x0


PAIRS = [
    ("reflow", {}),
    ("reflow_distill", {}),
    ("reflow_distill", {"k": 1}),
    ("rectified_diffusion", {}),
    ("rectified_diffusion", {"predicts": "data"}),
]


@pytest.mark.parametrize(("name", "options"), PAIRS)
def test_the_straight_flow_between_pairs_is_the_fixed_point_and_the_curved_one_is_not(name, options):
    loss = LOSSES[name](**options)
    (value,) = loss.terms(make_batch(FIELD, 256, offline=True), FlowMap(Spy(straight)), None, None).values()
    assert value.max() < 1e-20
    (value,) = loss.terms(make_batch(FIELD, 256, offline=True), EXACT, None, None).values()
    assert value.mean() > 0.01


@pytest.mark.parametrize("k", [1, 3, 8])
def test_distillation_asks_at_the_times_of_k_euler_steps_alone(k):
    spy = Spy()
    LOSSES["reflow_distill"](k=k).terms(make_batch(FIELD, 512, offline=True), FlowMap(spy), None, None)
    ((s, t),) = spy.asked
    assert torch.equal(s, t)
    assert torch.allclose(s.unique(), torch.arange(k, dtype=torch.float64) / k)


def test_rectified_diffusion_is_reflow_weighted():
    s = make_batch(FIELD, 256, offline=True).single_time()
    error, noise, data = (
        next(iter(loss.terms(make_batch(FIELD, 256, offline=True), EXACT, None, None).values()))
        for loss in (
            LOSSES["reflow"](),
            LOSSES["rectified_diffusion"](predicts="noise"),
            LOSSES["rectified_diffusion"](),
        )
    )
    assert torch.allclose(noise, s**2 * error)
    assert torch.allclose(data, (1 - s) ** 2 * error)


def test_a_secant_spans_the_smallest_stored_interval_around_the_batchs_times():
    batch = make_batch(FIELD, 512, offline=True)
    times = batch.times**2  # not equidistant
    path = torch.stack([FIELD.flow_map(torch.zeros_like(batch.s), time.expand(512), batch.x0) for time in times])
    batch = dataclasses.replace(batch, times=times, path=path)
    spy = Spy(EXACT.network)
    (value,) = LOSSES["cmt"]().terms(batch, FlowMap(spy), None, None).values()
    assert value.max() < 1e-20
    ((s, t),) = spy.asked
    assert (s <= batch.s).all()
    assert (batch.t <= t).all()
    assert (s < t).all()
    for low, high, s_asked, t_asked in zip(batch.s, batch.t, s, t, strict=True):
        assert s_asked == times[times <= low].max()
        assert t_asked == times[times >= high].min()


def test_a_secant_at_the_grids_own_times_is_not_empty():
    batch = make_batch(FIELD, 9, offline=True)
    batch = dataclasses.replace(batch, s=batch.times.clone(), t=batch.times.clone())
    spy = Spy(EXACT.network)
    (value,) = LOSSES["cmt"]().terms(batch, FlowMap(spy), None, None).values()
    ((s, t),) = spy.asked
    assert value.max() < 1e-20
    assert (s < t).all()


@pytest.mark.parametrize("schedule", ["equidistant", "optimal"])
@pytest.mark.parametrize("steps", [1, 3, 4, 8])
def test_straightening_regresses_the_secants_of_its_schedules_jumps(schedule, steps):
    batch = make_batch(FIELD, 512, offline=True)
    loss = LOSSES["boss"](steps=steps, schedule=schedule)
    jumps = batch.times[loss.jumps(batch.times, batch.path, {})]
    if schedule == "optimal":
        assert torch.equal(jumps, optimal_schedule(batch.times, batch.path, steps))
    else:
        assert (jumps - torch.arange(steps + 1) / steps).abs().max() <= 1 / 16

    def secant(s, t, x):
        return FIELD.average_velocity(s, jumps[torch.searchsorted(jumps, s, right=True)], x)

    spy = Spy(secant)
    (value,) = loss.terms(batch, FlowMap(spy), None, None).values()
    assert value.max() < 1e-20
    ((s, t),) = spy.asked
    assert torch.equal(s, t)
    assert torch.equal(s.unique(), jumps[:-1])


def test_straightening_needs_as_many_stored_intervals_as_jumps():
    with pytest.raises(ValueError, match="9 jumps need as many stored intervals, and there are 8"):
        LOSSES["boss"](steps=9).terms(make_batch(FIELD, 8, offline=True), EXACT, None, None)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.offline and loss.learns != "own"])
def test_each_learns_the_end_of_the_flow(name):
    """Eight steps of each kind of sampler from random weights."""
    loss = LOSSES[name]()
    torch.manual_seed(0)
    network = MLP((2,), 32, 2)
    model = FlowMap(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    field, exact = linear_gaussian((1.0, -2.0), 0.5)
    steps = 4
    x = torch.randn(256, 2, generator=torch.Generator().manual_seed(1))

    @torch.no_grad()
    def error():
        state = x
        for k in range(steps):
            s = torch.full((256,), k / steps)
            t = s if loss.learns == "velocity" else s + 1 / steps
            state = state + model.average_velocity(s, t, state) / steps
        aim = exact(torch.zeros(256).double(), torch.ones(256).double(), x.double())
        return (state - aim).square().sum(1).mean().sqrt().item()

    before = error()
    for step in range(400):
        batch = make_batch(field, 128, seed=step, dtype=torch.float32, offline=True)
        optimizer.zero_grad()
        loss.total(loss.terms(batch, model, None, None)).backward()
        optimizer.step()
    assert error() < 0.1 * before
