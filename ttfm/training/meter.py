"""What a training's losses were, without making a GPU wait for the question."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class NonFiniteError(RuntimeError):
    """A loss term or the map error became NaN or infinite; the message names it, the step and the seed.

    Attributes:
        step: number of the training step, from 1.
    """

    def __init__(self, message: str, step: int):
        super().__init__(message)
        self.step = step


class Meter:
    """Sums of every step's values. They are kept on their device until somebody looks, which waits for it.

    Args:
        seed: the run's, for messages.
    """

    def __init__(self, seed: int):
        self.seed = seed
        self.sums: dict[str, float] = {}
        self._unseen: list[tuple[int, list[str], Tensor]] = []

    def add(self, step: int, names: list[str], values: Tensor) -> None:
        """Note step ``step`` (from 1): the scalar that is minimised and the terms' means, ``(len(names),)``."""
        self._unseen.append((step, names, values))

    def look(self) -> None:
        """Read all that was noted since the last look.

        Raises:
            NonFiniteError: for the first step at which a value was not finite.
        """
        if not self._unseen:
            return
        numbers = iter(torch.cat([values for _, _, values in self._unseen]).tolist())
        steps = [(step, {name: next(numbers) for name in names}) for step, names, _ in self._unseen]
        self._unseen.clear()
        for step, found in steps:
            # Named terms before their sum, so that the culprit is named.
            for name in reversed(found):
                if not math.isfinite(found[name]):
                    raise NonFiniteError(f"non-finite loss term {name!r} at step {step} (seed {self.seed})", step)
            self.sums = {name: self.sums.get(name, 0.0) + value for name, value in found.items()}
