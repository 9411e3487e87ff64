"""Sets of which batches are drawn: rows of an array that may be larger than memory, with or without classes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CHUNK = 2**28
"""Bytes that are moved to a device at once."""


class Held:
    """An array whose rows are read at random.

    It is moved once to a GPU where it takes no more than half of the memory that is free there; else it stays where it
    is, on disk and mapped maybe, and is read batch by batch. Where it lies does not change what is read.

    Args:
        array: shape ``(N, *shape)``; may be mapped from disk.
    """

    def __init__(self, array: np.ndarray):
        self.array = array
        self._moved: dict[torch.device, Tensor | None] = {}

    def take(self, index: Tensor) -> Tensor:
        """The rows of ``index`` ``(count,)``, shape ``(count, *shape)``, on the device of ``index``."""
        if (held := self.on(index.device)) is not None:
            return held[index]
        rows = torch.from_numpy(self.array[index.cpu().numpy()])
        # Only from pinned memory does a copy not wait for the GPU.
        return rows.pin_memory().to(index.device, non_blocking=True) if index.is_cuda else rows

    def on(self, device: torch.device) -> Tensor | None:
        """The whole array on a GPU, moved there once; None where it is read from where it is instead."""
        if device not in self._moved:
            fits = device.type == "cuda" and 2 * self.array.nbytes <= torch.cuda.mem_get_info(device)[0]
            self._moved[device] = self._whole(device) if fits else None
        return self._moved[device]

    def _whole(self, device: torch.device) -> Tensor:
        dtype = torch.from_numpy(np.array(self.array[:0])).dtype
        whole = torch.empty(self.array.shape, dtype=dtype, device=device)
        rows = max(1, CHUNK // self.array[0].nbytes)
        for start in range(0, len(whole), rows):
            whole[start : start + rows] = torch.from_numpy(np.array(self.array[start : start + rows]))
        return whole


class Rows:
    """A set of training data, drawn with replacement.

    Args:
        data: what is drawn, shape ``(N, *shape)``.
        labels: class of each of its data, shape ``(N,)``; None for a set without classes.
        classes: number of classes, of which the last may have no data; None: as many as there are labels.
    """

    def __init__(self, data: np.ndarray, labels: np.ndarray | None, classes: int | None = None):
        self._data = Held(data)
        self.labels = None if labels is None else np.array(labels, dtype=np.int64)
        self._labels = None if self.labels is None else Held(self.labels)
        self.classes = 0
        """Number of classes; 0 for a set without."""
        if self.labels is not None:
            self.classes = int(self.labels.max()) + 1 if classes is None else classes

    def elsewhere(self, device: torch.device) -> bool:
        """Whether batches for a GPU are read from the CPU's memory or disk: drawing them takes time there."""
        return device.type == "cuda" and self._data.on(device) is None

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` data, shape ``(count, *shape)``, float32 on the generator's device."""
        return self.draw(count, generator)[0]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The data of :meth:`sample`, and their labels ``(count,)``, int64, or None for a set without classes."""
        raise NotImplementedError

    def _classes_of(self, index: Tensor) -> Tensor | None:
        return None if self._labels is None else self._labels.take(index)
