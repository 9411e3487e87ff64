"""Passes through the networks of a training: what is counted, and a training that is gone through as it is timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.precision import evaluate
from ttfm.training.trainer import Trainer

KINDS = ("forward", "forward-backward", "exact", "exact-backward", "jvp", "jvp-backward")
"""Those through the network that is trained and its target. A gradient's way back is counted, and timed, apart from the
pass that it goes back through."""
EVERY_KIND = (*KINDS, "teacher")


Calls = Counter[tuple[str, int]]
"""How many passes were made, by kind and by the samples that each of them took through the network."""


class Told(FlowMap):
    """A flow map that tells its passes one by one, and those in full precision apart where others are in a lower one.

    Attributes:
        made: where they are counted.
    """

    made: Calls

    def average_velocity(self, s: Tensor, t: Tensor, x: Tensor, *, exact: bool = False) -> Tensor:
        """As of :class:`FlowMap`."""
        if exact and self.precision != "float32":
            return self._counted("exact", evaluate(self.network, s, t, x))
        return super().average_velocity(s, t, x)

    def count(self, kind: str, samples: int, backward: bool) -> None:
        """As of :class:`FlowMap`."""
        super().count(kind, samples, backward)
        self.made[kind, samples] += 1
        if backward:
            self.made[f"{kind}-backward", samples] += 1


class ToldTeacher:
    """A teacher that tells when it is asked."""

    def __init__(self, teacher: Any, made: Calls):
        self.teacher, self.made = teacher, made
        self.evaluations = getattr(teacher, "evaluations", 1)

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        self.made["teacher", len(x)] += self.evaluations
        return self.teacher(t, x)


class Prices:
    """Seconds of passes by kind and size.

    A pass over a part of the batch costs more than that part of the seconds: a call has a price of its own, and small
    products fill fewer of the processor's lanes. Between the sizes that were timed, seconds are a line; below the
    smallest they stay, above the largest they are proportional.

    Args:
        timed: seconds of a pass by kind, and for each by size; sizes ascend.
    """

    def __init__(self, timed: Mapping[str, Mapping[int, float]]):
        self.timed = timed

    def __contains__(self, kind: str) -> bool:
        return kind in self.timed

    def of(self, kind: str, size: int) -> float:
        """Seconds of one pass of ``size`` samples."""
        sizes, seconds = list(self.timed[kind]), list(self.timed[kind].values())
        return float(np.interp(size, sizes, seconds)) * max(1.0, size / sizes[-1])

    def total(self, calls: Calls) -> float:
        """Seconds of many; kinds that have no price, as what the device has none of, cost nothing."""
        return sum(count * self.of(kind, size) for (kind, size), count in calls.items() if kind in self)


class Passage:
    """Takes a training's steps, one a call: first some that warm up, then all of them in order.

    Those that warm up are spread over the training, so that every pass of a curriculum has been made before one is
    timed.

    Args:
        trainer: a training of as many steps as are timed, at its start.
        warm: calls that warm up, at least 1.
    """

    def __init__(self, trainer: Trainer, warm: int):
        self.trainer, self.warm = trainer, warm
        self._made: Calls = Counter()
        for model in _models(trainer):
            model.__class__ = Told
            model.made = self._made
        if trainer.teacher is not None:
            trainer.teacher = ToldTeacher(trainer.teacher, self._made)
        count = trainer.options.iterations
        self._order = iter([*(place * count // warm for place in range(warm)), *range(count)])
        self._steps = trainer.run()
        self._counts: list[Calls] = []

    def __call__(self) -> None:
        """Take the next step."""
        self.trainer.step = next(self._order)
        next(self._steps)
        self._counts.append(self._made.copy())

    def rounds(self, repeat: int) -> list[Calls]:
        """The passes of each ``repeat`` steps, those that warm up left out."""
        counts = self._counts[self.warm - 1 :: repeat]
        return [after - before for before, after in pairwise(counts)]


def samples(calls: Calls) -> tuple[int, ...]:
    """The samples that went through networks, in the order of :data:`EVERY_KIND`."""
    return tuple(sum(size * count for (kind, size), count in calls.items() if kind == one) for one in EVERY_KIND)


def passes(trainer: Trainer) -> dict[str, float]:
    """The passes of a step in units of the batch, by kind: the mean of a training that is over."""
    counts = (*(sum(model.calls[kind] for model in _models(trainer)) for kind in KINDS), trainer.teacher_calls)
    whole = trainer.options.batch * trainer.options.iterations
    return {kind: count / whole for kind, count in zip(EVERY_KIND, counts, strict=True)}


def _models(trainer: Trainer) -> list[FlowMap]:
    return [model for model in (trainer.student, trainer.target) if model is not None]
