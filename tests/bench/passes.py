"""Passes through the networks of a training: what is counted, and a training that is gone through as it is timed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.precision import evaluate
from ttfm.training.trainer import Trainer

KINDS = ("forward", "forward-backward", "exact", "exact-backward", "jvp", "jvp-backward")
"""Those through the network that is trained and its target. A gradient's way back is counted, and timed, apart from the
pass that it goes back through."""
EVERY_KIND = (*KINDS, "teacher")


class Exacting(FlowMap):
    """A flow map that tells evaluations in full precision apart, where the others are in a lower one."""

    def average_velocity(self, s: Tensor, t: Tensor, x: Tensor, *, exact: bool = False) -> Tensor:
        """As of :class:`FlowMap`."""
        if exact and self.precision != "float32":
            return self._count("exact", evaluate(self.network, s, t, x))
        return super().average_velocity(s, t, x)


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
        for model in _models(trainer):
            model.__class__ = Exacting
        count = trainer.options.iterations
        self._order = iter([*(place * count // warm for place in range(warm)), *range(count)])
        self._steps = trainer.run()
        self._counts: list[Sequence[int]] = []

    def __call__(self) -> None:
        """Take the next step."""
        self.trainer.step = next(self._order)
        next(self._steps)
        self._counts.append(_counted(self.trainer))

    def rounds(self, repeat: int) -> list[tuple[int, ...]]:
        """The samples that went through networks in each ``repeat`` steps, those that warm up left out.

        Returns:
            Those of each round, in the order of :data:`EVERY_KIND`.
        """
        counts = np.array(self._counts[self.warm - 1 :: repeat])
        return [tuple(found) for found in np.diff(counts, axis=0).tolist()]


def passes(trainer: Trainer) -> dict[str, float]:
    """The passes of a step in units of the batch, by kind: the mean of a training that is over."""
    samples = trainer.options.batch * trainer.options.iterations
    return {kind: count / samples for kind, count in zip(EVERY_KIND, _counted(trainer), strict=True)}


def _models(trainer: Trainer) -> list[FlowMap]:
    return [model for model in (trainer.student, trainer.target) if model is not None]


def _counted(trainer: Trainer) -> tuple[int, ...]:
    """The samples that went through networks so far, in the order of :data:`EVERY_KIND`."""
    models = _models(trainer)
    return (*(sum(model.calls[kind] for model in models) for kind in KINDS), trainer.teacher_calls)
