"""Trainings of one configuration and several seeds in lock-step: small networks leave most of a device idle."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.losses.base import Batch, Loss
from ttfm.networks.stacked import Stacked, StackingError
from ttfm.training.adamw import AdamW
from ttfm.training.clock import seconds
from ttfm.training.ema import EMA
from ttfm.training.meter import NonFiniteError
from ttfm.training.trainer import Progress, Trainer

log = logging.getLogger("ttfm")

TOLERANCE = 1e-3
"""Largest relative distance between a gradient computed together and alone: far above rounding, far below a mistake."""


@dataclass(frozen=True)
class Interleaved(Batch):
    """The batches of several trainings as one: sample b of training i is at b * n + i.

    Attributes:
        parts: the batches, which keep their own randomness.
    """

    parts: tuple[Batch, ...] = ()

    def part(self, samples: slice) -> Interleaved:
        """The batch of some of the samples, as many of each training.

        Raises:
            ttfm.networks.stacked.StackingError: if the samples are not as many of each.
        """
        count = len(self.parts)
        start, stop, _ = samples.indices(len(self.x0))
        if start % count or stop % count:
            raise StackingError(f"samples {start} to {stop} are not as many of each of {count} trainings")
        return interleave([part.part(slice(start // count, stop // count)) for part in self.parts])

    def other_noise(self) -> Tensor:
        """The noise of another sample of the same training for each, ``(B * n, *shape)``."""
        return _mixed([part.other_noise() for part in self.parts])

    def uniform(self) -> Tensor:
        """Fresh uniform numbers in [0, 1), each from its own batch's generator, shape ``(B * n,)``."""
        return _mixed([part.uniform() for part in self.parts])

    def normal(self) -> Tensor:
        """Fresh standard normal numbers, each from its own batch's generator, shape ``(B * n, *shape)``."""
        return _mixed([part.normal() for part in self.parts])


def _mixed(values: Sequence[Tensor], axis: int = 0) -> Tensor:
    return torch.stack(list(values), axis + 1).flatten(axis, axis + 1)


def interleave(batches: Sequence[Batch]) -> Interleaved:
    """The batches as one."""
    first = batches[0]
    x0, x1, s, t = (_mixed([getattr(batch, name) for batch in batches]) for name in ("x0", "x1", "s", "t"))
    path = None if first.path is None else _mixed([batch.path for batch in batches if batch.path is not None], 1)
    shared = (first.generator, first.progress, first.times, path, first.schedules)
    return Interleaved(x0, x1, s, t, *shared, parts=tuple(batches))


class Together:
    """Several trainings whose steps are taken at once, with the numbers that each would have alone, up to rounding.

    The networks are computed as one. Every trainer stays what it is: its weights, averages and moments become views
    into those that are trained here, so that it reports, is saved and goes on alone as ever.

    Args:
        trainers: at the same step of trainings that differ in their seeds only.
        tried: whether they have trained together before; otherwise a first step is tried.

    Raises:
        ttfm.networks.stacked.StackingError: if they cannot train together; the message says why.
    """

    def __init__(self, trainers: Sequence[Trainer], tried: bool = False):
        first = trainers[0]
        self.trainers, self.loss, self.options = list(trainers), first.loss, first.options
        self._check()
        self.stack = Stacked([trainer.network for trainer in trainers])
        self.student = FlowMap(self.stack, first.options.precision)
        self.asked = 0
        self.averages = [self._average([t.averages[value] for t in trainers]) for value in first.averages]
        targets = [trainer.target_average for trainer in trainers if trainer.target_average]
        self.target_average = self._average(targets) if targets else None
        followed = self.target_average.network if self.target_average else self.stack
        self.target = FlowMap(followed, first.options.precision) if first.target is not None else None
        self.optimizer = AdamW(self.stack.parameters(), first.options.beta2, first.options.weight_decay)
        for index, steps in enumerate(self.optimizer.steps):
            steps.copy_(first.optimizer.steps[index])
            for own, name in ((self.optimizer.means, "means"), (self.optimizer.squares, "squares")):
                for place, trainer in enumerate(trainers):
                    moments = getattr(trainer.optimizer, name)
                    own[index][place].copy_(moments[index])
                    moments[index] = own[index][place]
        self._their_steps = [steps for trainer in trainers for steps in trainer.optimizer.steps]
        self.waits = next(self.stack.parameters()).device.type != "cuda"
        """Whether every step is looked at before it changes the networks."""
        if not tried:
            self._try()

    def _check(self) -> None:
        first = self.trainers[0]
        if any((t.step, t.options, t.loss) != (first.step, first.options, first.loss) for t in self.trainers):
            raise StackingError("the trainings differ in more than their seeds")
        if type(self.loss).wrap is not Loss.wrap:
            raise StackingError(f"the loss {self.loss.name!r} trains a model of its own")
        unlike = (self.options.parts > 1, self.options.precision != "float32", self.options.compile, first.classes)
        if first.ranks.count > 1 or any(unlike):
            raise StackingError("they use ranks, parts, low precision, the compiler or classes")

    def _average(self, theirs: list[EMA]) -> EMA:
        """The average of all networks that takes over one of each trainer's."""
        found = type(theirs[0])(self.stack, theirs[0].decay)
        assert isinstance(found.network, Stacked)
        found.network.adopt([average.network for average in theirs])
        found.updates = theirs[0].updates
        return found

    def _try(self) -> None:
        """Compute the gradients of the next step together and alone.

        A loss may look at its batch as a whole, draw randomness of its own or weight its terms in its own way, and a
        trainer may have other data or another teacher than the rest; whether that goes together shows here.
        """
        step = self.trainers[0].step
        models = [model for t in self.trainers for model in (t.student, t.target) if model is not None]
        calls, asked = [dict(model.calls) for model in models], [t.teacher_calls for t in self.trainers]
        # Whatever goes wrong here goes wrong alone too, where it is reported, or is of the stacking.
        try:
            self._gradients(step)
            for place, trainer in enumerate(self.trainers):
                trainer.gradients(step)
                gap, size = 0.0, 0.0
                for weight, own in zip(self.stack.parameters(), trainer.optimizer.weights, strict=True):
                    together = torch.zeros_like(own) if weight.grad is None else weight.grad[place]
                    alone = torch.zeros_like(own) if own.grad is None else own.grad
                    gap += (together - alone).square().sum().item()
                    size += alone.square().sum().item()
                trainer.optimizer.zero_grad()
                if not gap <= TOLERANCE**2 * size:
                    raise StackingError(f"the loss {self.loss.name!r} has other gradients together than alone")
        except StackingError:
            raise
        except (AttributeError, TypeError, ValueError, RuntimeError, IndexError) as error:
            raise StackingError(f"the loss {self.loss.name!r} cannot be computed together: {error}") from error
        finally:
            self._forget()
            for model, counted in zip(models, calls, strict=True):
                model.calls.clear()
                model.calls.update(counted)
            for trainer, count in zip(self.trainers, asked, strict=True):
                trainer.teacher_calls = count

    def run(self) -> Iterator[list[Progress | NonFiniteError]]:
        """Train to the end, yielding after every step what each trainer reports.

        On the CPU it ends before a step in which something is not finite in one of them; a GPU is not made to wait for
        that, and it ends where this is noticed, which has changed no other network. It also ends after a step at which
        a map error is not finite. Each of them then goes on by its own :meth:`Trainer.run`.
        """
        first = self.trainers[0]
        for trainer in self.trainers:
            trainer.network.train()
        while first.step < self.options.iterations and self._train(first.step):
            found = [self._advance(trainer) for trainer in self.trainers]
            yield found
            if any(isinstance(progress, NonFiniteError) for progress in found):
                break

    def _advance(self, trainer: Trainer) -> Progress | NonFiniteError:
        try:
            if trainer.look_due(trainer.step + 1):
                trainer.meter.look()
            return trainer.advance()
        except NonFiniteError as error:
            return error

    def _gradients(self, step: int) -> dict[str, Tensor]:
        """Leave the gradients of step ``step`` in the stack; returns the values of each training, ``(n,)``."""
        device, count = next(self.stack.parameters()).device, len(self.trainers)
        batch = interleave([trainer.batch(step, device) for trainer in self.trainers])
        self.optimizer.zero_grad()
        terms = self.loss.terms(
            batch, self.student, self.target, self._ask_teacher if self.loss.needs_teacher else None
        )
        terms = {name: value.unflatten(0, (-1, count)) for name, value in terms.items()}
        totals = self.loss.total(terms)
        totals.sum().backward()
        return {"loss": totals.detach()} | {name: value.detach().mean(0) for name, value in terms.items()}

    def _ask_teacher(self, t: Tensor, x: Tensor) -> Tensor:
        velocity = self.trainers[0].teacher
        assert velocity is not None
        self.asked += len(x) * getattr(velocity, "evaluations", 1)
        return velocity(t, x)

    def _train(self, step: int) -> bool:
        """The training step ``step`` (from 0); whether it was taken: not if a value is seen not to be finite."""
        first, device = self.trainers[0], next(self.stack.parameters()).device
        started = seconds(device)
        if self.target_average and first.renews(step):
            self.target_average.update()
        values = self._gradients(step)
        table = torch.stack(list(values.values()))
        if self.waits and not table.isfinite().all():
            self._forget()
            return False
        if self.options.clip:
            self._clip()
        self.optimizer.step(self.options.learning_rate(step))
        for average in self.averages:
            average.update()
        if self.target_average and not self.loss.stages:
            self.target_average.update()
        torch._foreach_copy_(self._their_steps, self.optimizer.steps * len(self.trainers))
        took = (seconds(device) - started) / len(self.trainers)
        for place, trainer in enumerate(self.trainers):
            trainer.meter.add(step + 1, list(values), table[:, place])
            self._hand_over(trainer)
            trainer.account(step, list(values), took)
        self._forget()
        return True

    def _hand_over(self, trainer: Trainer) -> None:
        """Give a trainer its share of what is counted here."""
        for average, own in zip(self.averages, trainer.averages.values(), strict=True):
            own.updates = average.updates
        if self.target_average and trainer.target_average:
            trainer.target_average.updates = self.target_average.updates
        trainer.teacher_calls += self.asked // len(self.trainers)
        for model, theirs in ((self.student, trainer.student), (self.target, trainer.target)):
            if model is not None and theirs is not None:
                theirs.calls.update({kind: calls // len(self.trainers) for kind, calls in model.calls.items()})

    def _forget(self) -> None:
        self.asked = 0
        self.student.calls.clear()
        if self.target is not None:
            self.target.calls.clear()

    def _clip(self) -> None:
        """Scale the gradient of each network down to the largest norm allowed, as torch's clip_grad_norm_ does."""
        found = [weight.grad for weight in self.stack.parameters() if weight.grad is not None]
        squares = torch.stack([gradient.flatten(1).square().sum(1) for gradient in found]).sum(0)
        factor = (self.options.clip / (squares.sqrt() + 1e-6)).clamp(max=1.0)
        for gradient in found:
            gradient.mul_(factor.reshape(-1, *[1] * (gradient.ndim - 1)))


def together(trainers: Sequence[Trainer], tried: bool = False) -> Together | None:
    """The trainings together; None where each has to train alone, with the reason in the log.

    Args:
        trainers: as of :class:`Together`.
        tried: likewise.
    """
    if len(trainers) < 2:
        return None
    try:
        return Together(trainers, tried)
    except StackingError as error:
        log.info("the seeds train one after another: %s", error)
        return None
