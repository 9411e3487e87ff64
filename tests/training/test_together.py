"""Seeds that are computed at once have the numbers that each has alone, and part where they must."""

import copy
import logging
from dataclasses import replace

import pytest
import torch

from tests.losses.generic import losses, usual
from ttfm.data.densities import Ring
from ttfm.flow.flow_map import FlowMap
from ttfm.flow.schedules import optimal_schedules
from ttfm.flow.solvers import trajectory
from ttfm.losses.ct import ConsistencyTraining
from ttfm.losses.fm import FlowMatching
from ttfm.losses.itvm import ITVM
from ttfm.losses.lfmd import LFMD
from ttfm.losses.shortcut import Shortcut
from ttfm.networks.mlp import MLP
from ttfm.networks.stacked import Stacked, StackingError
from ttfm.networks.unet import UNet
from ttfm.training.meter import NonFiniteError
from ttfm.training.together import Together, interleave, together
from ttfm.training.trainer import Trainer, TrainingOptions, Trajectories

SEEDS = (3, 0, 7)
ALONE = {"blockwise", "boss", "dtm", "flowturbo", "wcfm"}
"""Losses that train a model of their own, or look at their batch as a whole."""


def stored():
    torch.manual_seed(0)
    path = torch.stack(list(trajectory(Ring().field(), torch.randn(64, 2), "rk4", 8)))
    times = torch.linspace(0, 1, 9)
    return Trajectories(times, path, optimal_schedules(times, path))


def trainer(loss, seed, **options):
    settings = {"iterations": 12, "batch": 16, "log_every": 5, "probe_every": 0} | options
    torch.manual_seed(seed)
    offline = stored() if loss.offline else None
    network = loss.wrap(MLP((2,), width=8, depth=3), (2,), offline and offline.schedules)
    ring = Ring()
    return Trainer(network, loss, ring, ring.field(), TrainingOptions(**settings), seed, trajectories=offline)


def trainers(loss, **options):
    return [trainer(loss, seed, **options) for seed in SEEDS]


def finish(several):
    rows = [[] for _ in several.trainers]
    for found in several.run():
        for mine, progress in zip(rows, found, strict=True):
            mine.append(progress)
    return rows


def require_close(found, alone):
    tensors, others = found.state().tensors, alone.state().tensors
    assert tensors.keys() == others.keys()
    for name, value in tensors.items():
        torch.testing.assert_close(value, others[name], rtol=2e-3, atol=2e-5, msg=lambda text, name=name: name + text)
    numbers, expected = found.state().numbers, alone.state().numbers
    assert numbers["sums"] == pytest.approx(expected["sums"], rel=1e-3, abs=1e-6)
    for name in ("updates", "target_updates", "terms", "calls", "teacher_calls"):
        assert numbers[name] == expected[name], name
    assert found.calls == pytest.approx(alone.calls)


@pytest.mark.parametrize("loss", [loss for loss in losses() if loss.name not in ALONE], ids=lambda loss: loss.name)
def test_every_loss_has_the_same_numbers_together_and_alone(loss):
    # Rounding grows as trainings go on, above all in quotients of small differences.
    several = Together(trainers(usual(loss), iterations=4, log_every=2))
    rows = finish(several)
    for seed, found, mine in zip(SEEDS, several.trainers, rows, strict=True):
        alone = trainer(usual(loss), seed, iterations=4, log_every=2)
        expected = [progress.row for progress in alone.run() if progress.row]
        require_close(found, alone)
        for row, other in zip([p.row for p in mine if p.row], expected, strict=True):
            assert {k: v for k, v in row.items() if k != "seconds"} == pytest.approx(
                {k: v for k, v in other.items() if k != "seconds"}, rel=2e-3, abs=1e-5
            )


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (LFMD(), {"clip": 0.5, "weight_decay": 0.1, "beta2": 0.95, "warmup": 3}),
        (Shortcut(), {"ema": [0.9, 0.99]}),
        (ConsistencyTraining(), {"ema_profile": "power", "ema": [0.1, 0.05]}),
    ],
)
def test_options_of_the_training_are_each_networks_own(loss, options):
    several = Together(trainers(loss, iterations=6, **options))
    finish(several)
    for seed, found in zip(SEEDS, several.trainers, strict=True):
        alone = trainer(loss, seed, iterations=6, **options)
        for _ in alone.run():
            pass
        require_close(found, alone)


@pytest.mark.parametrize("name", sorted(ALONE))
def test_a_loss_with_a_model_or_a_batch_of_its_own_trains_alone(name, caplog):
    loss = usual(next(loss for loss in losses() if loss.name == name))
    with caplog.at_level(logging.INFO, "ttfm"):
        assert together(trainers(loss)) is None
    assert "one after another" in caplog.text


class Pooled(FlowMatching):
    """Divides by the mean error of the batch, which together is not that of its own."""

    def terms(self, batch, student, target, teacher):
        found = super().terms(batch, student, target, teacher)
        return {name: value / value.detach().mean().sqrt() for name, value in found.items()}


class Drawing(FlowMatching):
    """Draws randomness past the batch's own method."""

    def terms(self, batch, student, target, teacher):
        noise = torch.randn(batch.x0.shape, generator=batch.generator)
        return super().terms(replace(batch, x0=noise), student, target, teacher)


class Weighted(FlowMatching):
    """Weights its terms in a way that takes them to be of one network."""

    def total(self, terms):
        return sum(value.mean() for value in terms.values())


class Lonely(FlowMatching):
    """Asks the network itself for something."""

    def terms(self, batch, student, target, teacher):
        return {"error": student.network.first(batch.x0).sum(1)}


@pytest.mark.parametrize("loss", [Pooled(), Drawing(), Weighted(), Lonely()], ids=lambda loss: type(loss).__name__)
def test_a_loss_that_does_not_go_together_with_others_is_noticed(loss):
    several = trainers(loss)
    assert together(several) is None
    # Nothing that was tried has left a trace.
    for seed, found in zip(SEEDS, several, strict=True):
        alone = trainer(loss, seed)
        for run in (found, alone):
            for _ in run.run():
                pass
        require_close(found, alone)


@pytest.mark.parametrize("options", [{"parts": 2}, {"precision": "bfloat16"}])
def test_what_is_not_computed_together_trains_alone(options):
    assert together(trainers(FlowMatching(), **options)) is None


def test_trainings_that_differ_in_more_than_their_seeds_train_alone():
    assert together([trainer(FlowMatching(), 0), trainer(FlowMatching(), 1, lr=1e-4)]) is None
    assert together([trainer(FlowMatching(), 0), trainer(LFMD(), 1)]) is None
    assert together([trainer(FlowMatching(), 0)]) is None


class Breaking(Ring):
    """Data that are not numbers from a draw on."""

    def __init__(self, good):
        super().__init__()
        self.good = good

    def sample(self, count, generator):
        self.good -= 1
        return super().sample(count, generator) * (1.0 if self.good >= 0 else float("nan"))


def require_end_as_alone(found):
    alone = trainer(FlowMatching(), found.seed)
    for run in (found, alone):
        for _ in run.run():
            pass
    require_close(found, alone)


def test_one_that_breaks_down_leaves_the_others_as_they_were():
    several = trainers(FlowMatching())
    # Two draws are made to try whether it goes together.
    several[1].draws = replace(several[1].draws, data=Breaking(6))
    found = Together(several)
    finish(found)
    steps = {run.step for run in several}
    assert len(steps) == 1 and 0 < steps.pop() < 12
    with pytest.raises(NonFiniteError, match="seed 0"):
        for _ in several[1].run():
            pass
    for place in (0, 2):
        require_end_as_alone(several[place])


def test_where_nothing_waits_one_that_breaks_down_is_noticed_when_a_row_is_due():
    several = trainers(FlowMatching())
    several[1].draws = replace(several[1].draws, data=Breaking(7))
    found = Together(several)
    found.waits = False
    rows = finish(found)
    assert [len(mine) for mine in rows] == [10, 10, 10]
    assert isinstance(rows[1][-1], NonFiniteError) and rows[1][-1].step == 6 and "seed 0" in str(rows[1][-1])
    for place in (0, 2):
        assert rows[place][-1].row["loss"] > 0
        require_end_as_alone(several[place])


def test_a_map_error_that_is_none_is_its_own_trainings_end():
    def broken(network):
        raise ValueError("no number")

    several = trainers(FlowMatching(), probe_every=4)
    for run in several:
        run.probe = (lambda network: 1.0) if run.seed else broken
    rows = finish(Together(several))
    assert [len(mine) for mine in rows] == [4, 4, 4]
    assert isinstance(rows[1][-1], NonFiniteError) and "seed 0" in str(rows[1][-1])
    assert rows[0][-1].row["map_error"] == rows[2][-1].row["map_error"] == 1.0


def test_a_state_that_was_kept_together_is_gone_on_with_together():
    several = trainers(ITVM())
    run = Together(several).run()
    for _ in range(5):
        next(run)
    states = copy.deepcopy([each.state() for each in several])
    for _ in run:
        pass
    again = trainers(ITVM())
    for each, state in zip(again, states, strict=True):
        each.restore(state)
    finish(Together(again))
    for each, other in zip(again, several, strict=True):
        for name, value in other.state().tensors.items():
            assert torch.equal(each.state().tensors[name], value), name


def test_networks_that_are_more_than_linear_layers_are_not_stacked():
    with pytest.raises(StackingError, match="no linear layer"):
        Stacked([UNet((1, 8, 8), channels=32, multipliers=[1]) for _ in range(2)])


def test_networks_of_two_sizes_are_not_stacked():
    with pytest.raises(StackingError, match="not of one architecture"):
        Stacked([MLP((2,), width=width, depth=2) for width in (8, 16)])


def test_one_with_another_teacher_is_noticed_wherever_it_stands():
    several = trainers(LFMD())
    several[1].teacher = lambda t, x: x
    assert together(several) is None


def test_a_number_of_samples_that_cannot_be_shared_out_is_refused():
    stack = Stacked([MLP((2,), width=8, depth=2) for _ in range(2)])
    with pytest.raises(StackingError, match="5 samples"):
        stack(torch.rand(5), torch.rand(5), torch.randn(5, 2))


def test_a_stack_has_each_networks_values_and_tangents_and_shares_its_weights():
    torch.manual_seed(1)
    networks = [MLP((2,), width=8, depth=3) for _ in SEEDS]
    for network in networks:
        torch.nn.init.normal_(network.time.gap.weight)
    s, x, v = torch.rand(15) / 2, torch.randn(15, 2), torch.randn(15, 2)
    t = s + 0.3
    before = [FlowMap(network).eulerian(s[i::3], t[i::3], x[i::3], v[i::3]) for i, network in enumerate(networks)]
    stack = Stacked(networks)
    found = FlowMap(stack).eulerian(s, t, x, v)
    for i, (value, tangent) in enumerate(before):
        torch.testing.assert_close(found[0][i::3], value)
        torch.testing.assert_close(found[1][i::3], tangent)
    with torch.no_grad():
        next(stack.parameters())[1] += 1
    assert torch.equal(next(networks[1].parameters()), next(stack.parameters())[1])


def test_batches_are_interleaved():
    batches = [trainer(FlowMatching(), seed).batch(0, torch.device("cpu")) for seed in SEEDS]
    copies = [trainer(FlowMatching(), seed).batch(0, torch.device("cpu")) for seed in SEEDS]
    whole = interleave(batches)
    draws = whole.uniform()
    for place, batch in enumerate(copies):
        assert torch.equal(whole.x0[place::3], batch.x0) and torch.equal(whole.t[place::3], batch.t)
        assert torch.equal(draws[place::3], batch.uniform())
