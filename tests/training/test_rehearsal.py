"""A loss whose code does not keep to the signature is found before anything is trained."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest
import torch

from tests.losses import generic
from ttfm.losses.base import squared_norm
from ttfm.losses.flowturbo import FlowTurbo
from ttfm.losses.lfmd import LFMD
from ttfm.networks.mlp import MLP
from ttfm.networks.unet import UNet
from ttfm.training.rehearsal import RehearsalError, rehearse

KEPT = 33


def points():
    return MLP((2,), width=8, depth=2)


@pytest.mark.parametrize("loss", [generic.usual(found) for found in generic.losses()], ids=lambda loss: loss.name)
def test_every_loss_of_the_package_passes(loss):
    network, state = points(), torch.random.get_rng_state()
    rehearse(loss, network, (2,), KEPT)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_classes_of_images_are_at_hand():
    network = UNet((1, 8, 8), channels=8, multipliers=[1], groups=2, classes=3)
    rehearse(LFMD(), network, (1, 8, 8))


@dataclass(frozen=True)
class Wrong(LFMD):
    """A loss whose terms are ``answer`` of the student's average velocity."""

    def terms(self, batch, student, target, teacher):
        return self.answer(squared_norm(student.average_velocity(batch.s, batch.t, batch.x0)))


def line_of(method, text):
    """The line of the file on which a method has a text."""
    lines, start = inspect.getsourcelines(method)
    return start + next(i for i, line in enumerate(lines) if text in line)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda value: {}, "terms returned {}; it must be a dict of names and values per sample"),
        (lambda value: (value,), "terms returned (tensor"),
        (lambda value: {"a": value.mean()}, "terms returned a tensor of shape () as 'a', for B = 4 samples"),
        (lambda value: {"a": value[:, None]}, "terms returned a tensor of shape (4, 1) as 'a'"),
        (lambda value: {"a": 1.0}, "terms returned 1.0 as 'a'"),
        (lambda value: {"a": value.detach()}, "no gradient of its terms reaches the student"),
    ],
)
def test_what_terms_returns_is_looked_at(answer, message, monkeypatch):
    monkeypatch.setattr(Wrong, "answer", staticmethod(answer), raising=False)
    with pytest.raises(RehearsalError) as error:
        rehearse(Wrong(), points(), (2,))
    where = f"tests/training/test_rehearsal.py:{line_of(Wrong.terms, 'def terms')}: "
    assert where in str(error.value) and message in str(error.value)


def test_an_error_is_named_with_the_line_of_the_file_that_raised_it(monkeypatch):
    monkeypatch.setattr(Wrong, "answer", staticmethod(lambda value: {"a": value @ value[:3]}), raising=False)
    with pytest.raises(RehearsalError, match=r"test_rehearsal\.py:\d+: RuntimeError: inconsistent tensor size"):
        rehearse(Wrong(), points(), (2,))


def test_weights_of_terms_that_there_are_not():
    @dataclass(frozen=True)
    class Weighted(LFMD):
        @property
        def weights(self):
            return {"initial": 0.0, "lagrange": 2.0}

    with pytest.raises(RehearsalError, match="weights names 'lagrange', and terms returned 'lagrangian'"):
        rehearse(Weighted(), points(), (2,))


def test_a_decay_that_is_none():
    @dataclass(frozen=True)
    class Decaying(LFMD):
        target_decay = 1.0

    with pytest.raises(RehearsalError, match=r"target_decay is 1\.0; None, or a decay of at least 0 and below 1"):
        rehearse(Decaying(), points(), (2,))


def test_what_wrap_and_sample_return_is_looked_at():
    @dataclass(frozen=True)
    class Unwrapped(FlowTurbo):
        def wrap(self, network, shape, schedules=None):
            return None

    @dataclass(frozen=True)
    class Flat(FlowTurbo):
        def sample(self, model, x0, steps, noise, teacher):
            return x0[0]

    with pytest.raises(RehearsalError, match=r"wrap returned None; it must be a torch\.nn\.Module"):
        rehearse(Unwrapped(), points(), (2,))
    message = r"sample returned a tensor of shape \(2,\); it must be like x0, a tensor of shape \(4, 2\)"
    with pytest.raises(RehearsalError, match=message):
        rehearse(Flat(), points(), (2,))
