"""Gradients flow to the student and to nothing else, whatever the loss and its switches."""

import copy
import itertools

import pytest
import torch

from tests.exact import make_batch
from ttfm.flow.fields import LearnedField, LinearGaussianField
from ttfm.flow.flow_map import FlowMap
from ttfm.losses import load_modules
from ttfm.losses.base import register
from ttfm.losses.lfmd import LFMD
from ttfm.networks.mlp import MLP

LOSSES = load_modules()
SWITCHES = {
    "itvm": [
        dict(zip(("terminal_target", "student_form", "r_rule"), values, strict=True))
        for values in itertools.product(
            ("teacher_heun", "teacher_euler", "ema_average", "ema_jvp"),
            ("quotient", "average"),
            ("relative", "absolute", "uniform"),
        )
    ],
    "lfmd": [{"gradient": "stop"}, {"gradient": "full"}],
    "cd": [{"mu": 0.0}, {"mu": 0.9}],
}
CASES = [(name, options) for name in LOSSES for options in SWITCHES.get(name, [{}])]


@pytest.fixture
def models():
    torch.manual_seed(0)
    networks = [MLP((2,), 16, 2) for _ in range(3)]
    for network in networks:
        torch.nn.init.normal_(network.time.gap.weight, std=0.3)
    student, target, teacher = networks
    return FlowMap(student), FlowMap(target), teacher


@pytest.mark.parametrize(("name", "options"), CASES)
def test_only_the_student_receives_gradients(name, options, models):
    student, target, teacher_network = models
    loss = LOSSES[name](**options)
    batch = make_batch(LinearGaussianField(torch.zeros(2), 0.5), 32, dtype=torch.float32, offline=loss.offline)
    terms = loss.terms(batch, student, target, LearnedField(teacher_network))
    assert all(value.shape == (32,) for value in terms.values())
    loss.total(terms).backward()
    assert all(p.grad is None for p in target.parameters())
    reached = any(p.grad is not None for p in teacher_network.parameters())
    assert reached == (options.get("gradient") == "full")
    assert sum(p.grad.abs().sum() for p in student.parameters() if p.grad is not None) > 0


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_target_is_asked_exactly_where_it_is_declared(name, options, models):
    student, target, teacher = models
    loss = LOSSES[name](**options)
    batch = make_batch(LinearGaussianField(torch.zeros(2), 0.5), 8, dtype=torch.float32, offline=loss.offline)
    loss.terms(batch, student, target, LearnedField(teacher))
    assert (sum(target.calls.values()) > 0) == (loss.target_decay is not None)
    assert (student.calls["jvp"] + target.calls["jvp"] > 0) == loss.uses_jvp


def test_full_lfmd_adds_the_gradient_through_the_teachers_argument(models):
    student, _, teacher = models
    batch = make_batch(LinearGaussianField(torch.zeros(2), 0.5), 64, dtype=torch.float32)
    grads = {}
    for form in ("stop", "full"):
        copied = copy.deepcopy(student)
        loss = LFMD(gradient=form)
        loss.total(loss.terms(batch, copied, None, LearnedField(teacher))).backward()
        grads[form] = torch.cat([p.grad.flatten() for p in copied.parameters() if p.grad is not None])
    assert not torch.allclose(grads["stop"], grads["full"])


def test_initial_term_is_weighted_and_can_be_left_out(models):
    student, target, teacher = models
    batch = make_batch(LinearGaussianField(torch.zeros(2), 0.5), 32, dtype=torch.float32)
    field = LearnedField(teacher)
    without = LOSSES["itvm"](lambda_I=0.0).terms(batch, student, target, field)
    assert set(without) == {"terminal"}
    loss = LOSSES["itvm"](lambda_I=3.0)
    terms = loss.terms(batch, student, target, field)
    expected = 3 * terms["initial"].mean() + terms["terminal"].mean()
    assert torch.allclose(loss.total(terms), expected)


def test_a_name_is_taken_once():
    class Impostor(LFMD):
        pass

    with pytest.raises(ValueError, match="two losses are called 'lfmd'"):
        register(Impostor)
    assert LOSSES["lfmd"] is LFMD


def test_consistency_grid_runs_from_noise_to_data():
    times = LOSSES["cd"]().times(torch.device("cpu"), torch.float64)
    assert len(times) == 18
    assert times[0] == 0
    assert times[-1] == 1
    assert (times.diff() > 0).all()
