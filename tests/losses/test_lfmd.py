"""What is LFMD's own; all that holds for every loss is in test_generic."""

import torch

from tests.exact import linear_gaussian, make_batch
from tests.losses.generic import random_mlp
from ttfm.flow.fields import LearnedField
from ttfm.flow.flow_map import FlowMap
from ttfm.losses.lfmd import LFMD


def test_the_gradient_through_the_teachers_argument_is_an_option():
    """Full, it reaches the teacher's own parameters too, were they not frozen; stopped, nothing of the teacher."""
    student, teacher = FlowMap(random_mlp(0)), random_mlp(1)
    batch = make_batch(linear_gaussian()[0], 64)
    found = {}
    for form in ("stop", "full"):
        loss = LFMD(gradient=form)
        total = loss.total(loss.terms(batch, student, None, LearnedField(teacher)))
        parameters = [*student.parameters(), *teacher.parameters()]
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        own = len(list(student.parameters()))
        found[form] = torch.cat([g.flatten() for g in gradients[:own] if g is not None])
        assert any(g is not None for g in gradients[own:]) == (form == "full")
    assert not torch.allclose(found["stop"], found["full"])
