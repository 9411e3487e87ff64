"""What batches are made of, drawn from the data: ahead of time where a set does not fit the device."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from ttfm.seeds import generator
from ttfm.training.options import TrainingOptions
from ttfm.training.ranks import Ranks

Key = tuple[int, int]
"""Step and part of a batch, on which what is drawn depends alone."""
Drawn = tuple[torch.Generator, Tensor, Tensor | None]
"""The generator after its first draws, the data and their labels."""


class Data(Protocol):
    """Whatever yields training data; with classes also ``draw``, which returns them and their labels ``(count,)``."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` data points of shape ``(count, *shape)``."""


class _Waiting(threading.Thread):
    """One batch on its way, and what to wait for before it is used."""

    def __init__(self, key: Key, draw: Callable[[Key], tuple[Drawn, torch.cuda.Event | None]]):
        super().__init__(name="ttfm-ahead")
        self.key, self.draw = key, draw
        self.drawn: Future[tuple[Drawn, torch.cuda.Event | None]] = Future()

    def run(self) -> None:
        try:
            self.drawn.set_result(self.draw(self.key))
        # It is raised where the batch is asked for.
        except BaseException as error:
            self.drawn.set_exception(error)


class Ahead:
    """Draws the data of one batch after the other, each of them in a thread while the batch before is in use.

    What is drawn is what would be drawn without it. A thread lives for one batch: after the last there is none.

    Args:
        draw: from the key of a batch to what is drawn for it, on ``device``.
        device: where the data go to. On a GPU they go there on a stream of their own, which nothing else waits for.
    """

    def __init__(self, draw: Callable[[Key], Drawn], device: torch.device):
        self.draw, self.device = draw, device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.waiting: _Waiting | None = None

    def take(self, key: Key, following: Key | None) -> Drawn:
        """What is drawn for ``key``, whose successor begins to be drawn.

        Args:
            key: the batch; one that was not announced is drawn at once.
            following: the batch after it; None if it is the last.

        Raises:
            Exception: that of ``draw``, whichever thread it came up in.
        """
        waiting, self.waiting = self.waiting, None
        if waiting and waiting.key == key:
            waiting.join()
            drawn, ready = waiting.drawn.result()
        else:
            drawn, ready = self._drawn(key)
        if following:
            self.waiting = _Waiting(following, self._drawn)
            self.waiting.start()
        if ready:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(ready)
            for tensor in drawn[1:]:
                if tensor is not None:
                    # Or its memory could be given to the next draw while this stream still reads it.
                    tensor.record_stream(current)
        return drawn

    def _drawn(self, key: Key) -> tuple[Drawn, torch.cuda.Event | None]:
        """What is drawn for a batch, and what to wait for before it is used."""
        if self.stream is None:
            return self.draw(key), None
        with torch.cuda.stream(self.stream):
            return self.draw(key), self.stream.record_event()


@dataclass(frozen=True)
class Draws:
    """The data of every batch of a training.

    Attributes:
        data: the source of training data; one whose ``elsewhere(device)`` says so is read ahead.
        options: how the training goes.
        seed: determines the data together with step and part.
        name: of the stream of randomness.
        classes: number of classes of the network; 0 for one that takes no labels.
        ranks: the processes that train together.
    """

    data: Data
    options: TrainingOptions
    seed: int
    name: str
    classes: int
    ranks: Ranks

    def stream(self, part: int) -> str:
        """The name of the randomness of a part of every batch."""
        return f"{self.name}-part-{part}" if part else self.name

    def take(self, step: int, device: torch.device, part: int = 0) -> Drawn:
        """The data of a part of a batch, ``(options.part, *shape)``, and the generator that goes on to its noise."""
        ahead = self._ahead(device)
        return ahead.take((step, part), self._after(step, part)) if ahead else self._draw((step, part), device)

    def _draw(self, key: Key, device: torch.device) -> Drawn:
        step, part = key
        source = generator(self.seed, self.stream(part), step, device)
        if self.classes:
            x1, labels = self.data.draw(self.options.part, source)  # type: ignore[attr-defined]
        else:
            x1, labels = self.data.sample(self.options.part, source), None
        if device.type == "cuda" and x1.device.type == "cpu":
            # Only from pinned memory does a copy not wait for the GPU.
            x1 = x1.pin_memory()
        return source, x1.to(device, non_blocking=True), labels

    @cached_property
    def _aheads(self) -> dict[torch.device, Ahead | None]:
        return {}

    def _ahead(self, device: torch.device) -> Ahead | None:
        """What draws the next batch; None where the data lie on the device, or are not waited for.

        It is decided when the first batch is asked for: by then the device holds all networks.
        """
        if device not in self._aheads:
            elsewhere = getattr(self.data, "elsewhere", None)
            found = Ahead(lambda key: self._draw(key, device), device) if elsewhere and elsewhere(device) else None
            self._aheads[device] = found
        return self._aheads[device]

    def _after(self, step: int, part: int) -> Key | None:
        """The step and part that this rank computes next; None if there is none."""
        if part + self.ranks.count < self.options.parts:
            return step, part + self.ranks.count
        return (step + 1, self.ranks.rank) if step + 1 < self.options.iterations else None
