"""What is ITVM's own; all that holds for every loss is in test_generic."""

import itertools
from dataclasses import replace

import pytest
import torch

from tests.exact import linear_gaussian, make_batch
from tests.losses.generic import random_mlp
from ttfm.flow.flow_map import FlowMap
from ttfm.losses.itvm import ITVM

FORMS = list(
    itertools.product(
        ("teacher_heun", "teacher_euler", "ema_average", "ema_jvp"),
        ("quotient", "average"),
        ("relative", "absolute", "uniform"),
    )
)


@pytest.mark.parametrize(("target", "form", "rule"), FORMS)
def test_the_diagonal_is_exact_for_every_form(target, form, rule):
    """At s = t nothing divides by zero and every target is the teacher's velocity."""
    field, exact = linear_gaussian()
    batch = make_batch(field, 64)
    batch = replace(batch, t=batch.s.clone())
    loss = ITVM(terminal_target=target, student_form=form, r_rule=rule)
    for value in loss.terms(batch, exact, exact, field).values():
        assert value.max().item() < 1e-12


def test_the_initial_term_is_weighted_and_can_be_left_out():
    field, _ = linear_gaussian()
    student, target = (FlowMap(random_mlp(seed)) for seed in (0, 1))
    batch = make_batch(field, 32)
    assert set(ITVM(lambda_I=0.0).terms(batch, student, target, field)) == {"terminal"}
    loss = ITVM(lambda_I=3.0)
    terms = loss.terms(batch, student, target, field)
    assert torch.allclose(loss.total(terms), 3 * terms["initial"].mean() + terms["terminal"].mean())


def test_the_quotient_is_taken_in_full_precision_whatever_the_training_is():
    """Rounding to eight bits, divided by a small width, would be most of the term and of its gradient."""
    field, _ = linear_gaussian()
    batch, loss = make_batch(field, 256, dtype=torch.float32), ITVM(eps=0.01, lambda_I=0.0)
    found = {}
    for precision in ("float32", "bfloat16"):
        network = random_mlp(0).float()
        student, target = FlowMap(network, precision), FlowMap(random_mlp(0).float(), "float32")
        again = replace(batch, generator=torch.Generator().manual_seed(1))
        total = loss.total(loss.terms(again, student, target, lambda t, x: field(t.double(), x.double()).float()))
        total.backward()
        found[precision] = torch.cat([total.detach()[None], *(w.grad.flatten() for w in network.parameters())])
    torch.testing.assert_close(found["bfloat16"], found["float32"])
