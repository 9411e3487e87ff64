"""A step of a loss from outside the package before anything is trained: whether its code keeps to the signature."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ttfm.flow.labels import bound
from ttfm.flow.schedules import optimal_schedules
from ttfm.losses.base import Loss
from ttfm.losses.declaration import import_fault, place
from ttfm.networks.embeddings import classes_of
from ttfm.training.trainer import Trainer, TrainingOptions, Trajectories

SAMPLES = 4
STEPS = (0, 3)
"""Of a training of four: a loss with a schedule is looked at where it begins and where it ends."""


class RehearsalError(ValueError):
    """A loss that would fail in training or sampling; the message names its file and line."""


class _Noise:
    """Data of noise, with classes where the network has some."""

    def __init__(self, shape: tuple[int, ...], classes: int):
        self.shape, self.classes = shape, classes

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` data points, ``(count, *shape)``."""
        return torch.randn(count, *self.shape, generator=generator)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Data points, and their classes ``(count,)``."""
        return self.sample(count, generator), torch.randint(max(1, self.classes), (count,), generator=generator)


def rehearse(loss: Loss, network: nn.Module, shape: tuple[int, ...], kept: int = 0) -> None:
    """Compute the terms of a loss and their gradient on noise, and sample where the loss samples itself.

    Args:
        loss: the loss.
        network: u(s, t, x), on the CPU; it is changed.
        shape: shape of one state.
        kept: times of stored trajectories, where the loss trains on them.

    Raises:
        RehearsalError: naming the file and line of what failed, or of the method that does not return what it must.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # Layers that start at zero hide gradients.
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.02 * torch.randn_like(weight))
        try:
            fault = _perform(loss, network, shape, kept)
        except Exception as error:
            file = Path(inspect.getsourcefile(type(loss)) or "")
            raise RehearsalError(import_fault(file, error)) from error
    if fault:
        raise RehearsalError(fault)


def _perform(loss: Loss, network: nn.Module, shape: tuple[int, ...], kept: int) -> str:
    """What is wrong, "" if nothing is."""
    decay, kind = loss.target_decay, type(loss)
    if decay is not None and not 0 <= decay < 1:
        return f"{place(kind)}: target_decay is {decay!r}; None, or a decay of at least 0 and below 1"
    stored = None
    if loss.offline:
        kept = 2 if loss.offline == "pairs" else kept
        times, path = torch.linspace(0, 1, kept), torch.randn(kept, 2 * SAMPLES, *shape)
        stored = Trajectories(times, path, optimal_schedules(times, path) if loss.offline == "schedules" else {})
    teacher = copy.deepcopy(network).requires_grad_(False)
    loss.wrap(copy.deepcopy(network), shape)  # As before sampling, where no schedules are known.
    model: Any = loss.wrap(network, shape, stored.schedules if stored else None)
    if not isinstance(model, nn.Module):
        return f"{place(kind.wrap)}: wrap returned {_shown(model)}; it must be a torch.nn.Module"
    trainer = Trainer(
        model,
        loss,
        _Noise(shape, classes_of(network)),
        lambda t, x: teacher(t, t, x),
        TrainingOptions(max(STEPS) + 1, SAMPLES, probe_every=0),
        seed=0,
        trajectories=stored,
    )
    for step in STEPS:
        if fault := _terms(trainer, step):
            return f"{place(kind.terms)}: {fault}"
    if loss.learns != "own":
        return ""
    noise = torch.randn(SAMPLES, *shape)
    with torch.no_grad():
        x1: Any = loss.sample(model.eval(), noise, 2, lambda step: torch.randn_like(noise), trainer.ask_teacher)
    if isinstance(x1, Tensor) and x1.shape == noise.shape:
        return ""
    return f"{place(kind.sample)}: sample returned {_shown(x1)}; it must be like x0, {_shown(noise)}"


def _terms(trainer: Trainer, step: int) -> str:
    loss = trainer.loss
    batch = trainer.batch(step, torch.device("cpu"))
    with bound(batch.labels):
        found: Any = loss.terms(
            batch, trainer.student, trainer.target, trainer.ask_teacher if loss.needs_teacher else None
        )
    wanted = "it must be a dict of names and values per sample, tensors of shape (B,)"
    if not isinstance(found, dict) or not found:
        return f"terms returned {_shown(found)}; {wanted}"
    for name, value in found.items():
        if not isinstance(value, Tensor) or value.shape != (SAMPLES,):
            return f"terms returned {_shown(value)} as {name!r}, for B = {SAMPLES} samples; {wanted}"
    if unknown := [name for name, weight in loss.weights.items() if weight and name not in found]:
        return f"weights names {unknown[0]!r}, and terms returned {', '.join(map(repr, found))}"
    total = loss.total(found)
    if not total.requires_grad:
        return "no gradient of its terms reaches the student"
    total.backward()
    return ""


def _shown(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.60}"
