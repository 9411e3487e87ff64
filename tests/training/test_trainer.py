"""The loop: moving averages kept apart, the same data for every loss, and a stop at the first non-finite number."""

import copy
import math
from dataclasses import dataclass

import pytest
import torch

from ttfm.data.densities import Ring
from ttfm.data.digits import Digits
from ttfm.data.images import Images
from ttfm.flow.labels import bound
from ttfm.losses import load_modules
from ttfm.losses.itvm import ITVM
from ttfm.losses.lfmd import LFMD
from ttfm.networks.mlp import MLP
from ttfm.networks.unet import UNet
from ttfm.training.ema import EMA
from ttfm.training.trainer import NonFiniteError, Trainer, TrainingOptions, Trajectories

LOSSES = load_modules()


def network(seed=0):
    torch.manual_seed(seed)
    return MLP((2,), width=8, depth=2)


def trainer(loss, seed=0, iterations=6, net=None, **options):
    settings = TrainingOptions(iterations=iterations, batch=16, log_every=2, **options)
    ring = Ring()
    return Trainer(net or network(), loss, ring, ring.field(), settings, seed)


def finish(run):
    return list(run.run())


def parameters(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("name", ["itvm", "meanflow"])
def test_plain_options_are_a_plain_loop_to_the_bit(name):
    """Adam with a cosine, the loss, the average: nothing that options may add changes a number where it is off."""
    run = trainer(LOSSES[name](), iterations=8)
    rows = [progress.row for progress in run.run() if progress.row]
    plain = trainer(LOSSES[name](), iterations=8)
    net, loss, optimizer = plain.network, plain.loss, torch.optim.Adam(plain.network.parameters(), fused=True)
    average, losses = EMA(net, 0.999), []
    for step in range(8):
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 + math.cos(math.pi * step / 8)) / 2
        batch = plain.batch(step, torch.device("cpu"))
        terms = loss.terms(batch, plain.student, plain.target, plain.teacher if loss.needs_teacher else None)
        total = loss.total(terms)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        average.update()
        if plain.target_average:
            plain.target_average.update()
        losses.append(total.item())
    assert torch.equal(parameters(run.network), parameters(net))
    assert torch.equal(parameters(run.evaluation.network), parameters(average.network))
    assert [row["loss"] for row in rows] == [(a + b) / 2 for a, b in zip(losses[::2], losses[1::2], strict=True)]


def test_gradients_are_clipped_and_weights_decay():
    start = parameters(network())
    free, clipped, decayed = (
        trainer(ITVM(), iterations=1, schedule="constant", **options)
        for options in ({}, {"clip": 1e-9}, {"weight_decay": 0.5})
    )
    for run in (free, clipped, decayed):
        finish(run)
    # Gradients below Adam's epsilon move nothing; decay takes its share of every weight besides.
    assert (parameters(clipped.network) - start).abs().max() < 0.2 * (parameters(free.network) - start).abs().max()
    assert torch.allclose(parameters(decayed.network), parameters(free.network) - 1e-3 * 0.5 * start, atol=1e-7)


def test_of_several_averages_the_first_is_evaluated():
    run = trainer(ITVM(), iterations=40, ema=[0.5, 0.99])
    one = trainer(ITVM(), iterations=40, ema=0.5)
    finish(run), finish(one)
    assert list(run.averages) == [0.5, 0.99]
    assert torch.equal(parameters(run.evaluation.network), parameters(one.evaluation.network))
    assert not torch.equal(parameters(run.averages[0.99].network), parameters(one.evaluation.network))


def digits():
    return Images(Digits().read().splits["train"].images, maximum=Digits.maximum)


def test_memory_format_changes_no_result_beyond_rounding():
    def trained(**options):
        torch.manual_seed(0)
        net = UNet((1, 8, 8), channels=8, embedding=16)
        settings = TrainingOptions(iterations=3, batch=4, log_every=1, **options)
        rows = [progress.row["loss"] for progress in Trainer(net, LOSSES["fm"](), digits(), None, settings, 0).run()]
        return net.down[1].weight, rows

    (last, rows), (plain, expected) = trained(channels_last=True), trained()
    assert last.is_contiguous(memory_format=torch.channels_last) and not last.is_contiguous()
    assert plain.is_contiguous()
    assert rows == pytest.approx(expected, rel=1e-5)


def test_low_precision_trains_full_precision_weights():
    rows = {}
    for precision in ("float32", "bfloat16"):
        run = trainer(ITVM(), iterations=20, precision=precision)
        rows[precision] = [progress.row["loss"] for progress in run.run() if progress.row]
        assert all(p.dtype == torch.float32 for p in run.evaluation.network.parameters())
    assert rows["bfloat16"] == pytest.approx(rows["float32"], rel=0.05)
    assert rows["bfloat16"] != rows["float32"]


def test_ema_is_the_recursion_it_says():
    net = network()
    average = EMA(net, 0.9)
    expected = parameters(net).clone()
    for k in range(12):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(1.0)
        average.update()
        decay = min(0.9, (1 + k) / (10 + k))
        expected = decay * expected + (1 - decay) * parameters(net)
    assert torch.allclose(parameters(average.network), expected, atol=1e-5)
    assert not any(p.requires_grad for p in average.network.parameters())


def test_target_evaluation_average_teacher_and_student_are_four_different_things():
    net = network()
    # Long enough for the two decays to differ after their common warm-up.
    run = trainer(ITVM(mu=0.5), net=net, ema=0.99, iterations=40, schedule="constant")
    start = parameters(net).clone()
    finish(run)
    live, target, evaluation = (parameters(m) for m in (run.network, run.target.network, run.evaluation.network))
    assert run.network is net
    assert not torch.allclose(live, start)
    distances = [(average - live).norm() for average in (target, evaluation)]
    # The slower average is further behind; neither is the live network.
    assert 0 < distances[0] < distances[1]


def test_a_zero_decay_target_is_the_live_network():
    run = trainer(ITVM(mu=0.0))
    finish(run)
    assert run.target.network is run.network


def test_a_loss_without_a_target_gets_none():
    assert trainer(LFMD()).target is None


def test_batches_depend_on_seed_and_step_alone():
    device = torch.device("cpu")
    one, other = trainer(ITVM()).batch(3, device), trainer(LOSSES["meanflow"](), iterations=50).batch(3, device)
    for name in ("x0", "x1", "s", "t"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert not torch.equal(one.x0, trainer(ITVM(), seed=1).batch(3, device).x0)
    assert not torch.equal(one.x0, trainer(ITVM()).batch(4, device).x0)
    assert (one.s <= one.t).all()


def test_teacher_and_student_streams_differ():
    ring = Ring()
    settings = TrainingOptions(iterations=1, batch=16)
    teacher = Trainer(network(), LOSSES["velocity_regression"](), ring, ring.field(), settings, 0, "teacher-batch")
    assert not torch.equal(teacher.batch(0, torch.device("cpu")).x0, trainer(ITVM()).batch(0, torch.device("cpu")).x0)


def test_two_runs_are_equal_to_the_bit():
    first, second = trainer(ITVM()), trainer(ITVM())
    finish(first), finish(second)
    assert torch.equal(parameters(first.evaluation.network), parameters(second.evaluation.network))


@pytest.mark.parametrize(
    ("loss", "calls"),
    [
        ("fm", {"forward": 1, "backward": 1, "jvp": 0, "teacher": 0}),
        ("lfmd", {"forward": 0, "backward": 1, "jvp": 1, "teacher": 1}),
        ("cd", {"forward": 2, "backward": 1, "jvp": 0, "teacher": 2}),
        ("meanflow", {"forward": 1, "backward": 1, "jvp": 1, "teacher": 0}),
        ("meanflow_distill", {"forward": 1, "backward": 1, "jvp": 1, "teacher": 1}),
        # Two student jumps and half a batch of diagonals, one rollout of the target; Heun and the initial term.
        ("itvm", {"forward": 3.5, "backward": 2.5, "jvp": 0, "teacher": 2.5}),
    ],
)
def test_network_evaluations_are_counted(loss, calls):
    run = trainer(LOSSES[loss]())
    finish(run)
    assert run.calls == calls


@dataclass(frozen=True)
class Poisoned(ITVM):
    """Becomes NaN in one term at the third step."""

    def terms(self, batch, student, target, teacher):
        terms = super().terms(batch, student, target, teacher)
        student.calls["steps"] += 1
        if student.calls["steps"] == 3:
            terms["initial"] = terms["initial"] * float("nan")
        return terms


def test_a_non_finite_term_stops_the_run_with_its_name_step_and_seed():
    run = trainer(Poisoned(), seed=7)
    with pytest.raises(NonFiniteError, match=r"'initial' at step 3 \(seed 7\)"):
        finish(run)
    assert torch.isfinite(parameters(run.evaluation.network)).all()


def test_a_map_that_overflows_at_a_probe_is_a_failure_too():
    run = trainer(ITVM(), iterations=4, probe_every=2)

    def probe(averaged):
        raise ValueError("8 of 8 samples are not finite")

    run.probe = probe
    with pytest.raises(NonFiniteError, match=r"map error at step 2 \(seed 0\): 8 of 8"):
        finish(run)


def test_a_velocitys_times_are_uniform():
    batch = trainer(ITVM(), iterations=1).batch(0, torch.device("cpu"))
    times = torch.cat([trainer(ITVM()).batch(k, torch.device("cpu")).single_time() for k in range(400)])
    assert len(batch.single_time()) == 16
    counts = torch.histc(times, bins=4, min=0, max=1) / len(times)
    assert (counts - 0.25).abs().max() < 0.025


def test_rows_are_averages_over_their_interval_and_probes_come_when_due():
    run = trainer(ITVM(), iterations=5, probe_every=3)
    run.probe = lambda averaged: 1.25
    totals, rows = [], {}
    original = run.loss.total

    def spy(terms):
        totals.append(original(terms))
        return totals[-1]

    object.__setattr__(run.loss, "total", spy)
    for progress in run.run():
        if progress.row:
            rows[progress.step] = progress.row
    values = [value.item() for value in totals]
    assert sorted(rows) == [2, 3, 4, 5]
    assert rows[4]["loss"] == pytest.approx(sum(values[2:4]) / 2, rel=1e-6)
    assert {step for step, row in rows.items() if "map_error" in row} == {3, 5}


def test_learning_rate_warms_up_and_decays():
    options = TrainingOptions(iterations=100, lr=1.0, warmup=10)
    rates = [options.learning_rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) < 1.0 + 1e-9
    assert rates[-1] < 0.01
    assert TrainingOptions(iterations=10, lr=0.5, schedule="constant").learning_rate(9) == 0.5


def test_a_teacher_is_asked_for():
    message = (
        r"losses/itvm\.py:\d+: loss 'itvm' needs a teacher's .* none was given; give the trainer one, or declare nee"
    )
    with pytest.raises(ValueError, match=message):
        Trainer(network(), ITVM(), Ring(), None, TrainingOptions(), 0)


@pytest.mark.parametrize(("name", "what"), [("reflow", "pairs"), ("cmt", "trajectories"), ("boss", "schedules")])
def test_what_is_stored_of_the_teacher_is_asked_for(name, what):
    message = (
        rf"losses/{name}\.py:\d+: loss '{name}' trains on the teacher's stored {what} and none were given; "
        "give the trainer its trajectories, or declare offline = "
    )
    with pytest.raises(ValueError, match=message):
        Trainer(network(), LOSSES[name](), Ring(), None, TrainingOptions(), 0)


def test_students_learn_the_ring():
    """Few steps halve the one-step error of the start: a sign or time mix-up in the loop would not."""
    from ttfm.evaluation.paired import endpoint_rmse
    from ttfm.flow.flow_map import FlowMap
    from ttfm.flow.solvers import solve
    from ttfm.seeds import indexed_noise

    ring = Ring()
    torch.manual_seed(0)
    net = MLP((2,), width=64, depth=3)
    fit = Trainer(
        net, LOSSES["velocity_regression"](), ring, ring.field(), TrainingOptions(iterations=300, lr=5e-3, ema=0.9), 0
    )
    finish(fit)
    x0 = indexed_noise(0, 512, (2,))
    x1 = solve(ring.field(), x0, "rk4", 64)

    @torch.no_grad()
    def error(module):
        zeros = torch.zeros(len(x0))
        return endpoint_rmse(FlowMap(module)(zeros, zeros + 1, x0), x1)

    start = error(fit.evaluation.network)
    for name in ("itvm", "lfmd", "cd", "meanflow_distill"):
        student = copy.deepcopy(fit.evaluation.network).requires_grad_(True)
        run = Trainer(student, LOSSES[name](), ring, ring.field(), TrainingOptions(iterations=300, lr=5e-3, ema=0.9), 0)
        finish(run)
        assert error(run.evaluation.network) < 0.5 * start, name


class Classified:
    """Points of class 0 at -1 and of class 1 at 1."""

    classes = 2

    def draw(self, count, generator):
        labels = torch.randint(2, (count,), generator=generator)
        return (2.0 * labels - 1)[:, None, None, None].expand(count, 1, 4, 4).clone(), labels


def labelled_network(classes=2):
    torch.manual_seed(0)
    return UNet((1, 4, 4), channels=8, multipliers=[1], embedding=16, classes=classes)


def test_labels_are_those_of_their_samples_and_dropped_as_often_as_asked():
    options = {"batch": 2000, "label_dropout": 0.25}
    run = Trainer(labelled_network(), LOSSES["fm"](), Classified(), None, TrainingOptions(**options), 0)
    batch, again = run.batch(3, torch.device("cpu")), run.batch(3, torch.device("cpu"))
    assert torch.equal(batch.labels, again.labels)
    kept = batch.labels < 2
    assert torch.equal(batch.labels[kept], (batch.x1[kept, 0, 0, 0] > 0).long())
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.03)
    plain = Trainer(labelled_network(), LOSSES["fm"](), Classified(), None, TrainingOptions(batch=2000), 0)
    # Dropping labels draws from a stream of its own: the data stay the same.
    assert torch.equal(plain.batch(3, torch.device("cpu")).x1, batch.x1)
    assert plain.batch(3, torch.device("cpu")).labels.max() == 1


def test_a_network_learns_what_its_labels_tell():
    settings = TrainingOptions(iterations=200, batch=128, lr=5e-3, ema=0.9, label_dropout=0.5)
    run = Trainer(labelled_network(), LOSSES["fm"](), Classified(), None, settings, 0)
    finish(run)
    x0, start = torch.randn(64, 1, 4, 4, generator=torch.Generator().manual_seed(5)), torch.zeros(64)
    for label, value in ((0, -1.0), (1, 1.0), (2, 0.0)):
        with bound(torch.full((64,), label)), torch.no_grad():
            # At t = 0 the velocity is the mean of the data of that class less the noise; the null class has both.
            velocity = run.evaluation.network(start, start, x0)
        assert (velocity + x0).mean().item() == pytest.approx(value, abs=0.25)


def test_trajectories_carry_their_classes():
    path = torch.randn(3, 10, 1, 4, 4)
    stored = Trajectories(torch.linspace(0, 1, 3), path, {}, torch.arange(10) % 2)
    run = Trainer(
        labelled_network(), LOSSES["reflow"](), Classified(), None, TrainingOptions(batch=16), 0, trajectories=stored
    )
    batch = run.batch(0, torch.device("cpu"))
    which = [(path[0] == x).flatten(1).all(1).nonzero().item() for x in batch.x0]
    assert batch.labels.tolist() == [index % 2 for index in which]


def test_classes_that_the_data_do_not_have_are_refused():
    for data, message in ((digits(), "the data have no classes"), (Classified(), "the data have 2 classes")):
        with pytest.raises(ValueError, match=rf"network.classes: 3 .* {message}"):
            Trainer(labelled_network(3), LOSSES["fm"](), data, None, TrainingOptions(), 0)
