"""Training images drawn at random from a set of bytes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CHUNK = 2**28
"""Bytes that are moved to a device at once."""


class Images:
    """Images drawn with replacement, mirrored at random if asked, in [-1, 1].

    The set stays as bytes: moved once to a GPU where it takes no more than half of the memory that is free there, else
    left on disk, mapped, and read batch by batch. Where it lies does not change what is drawn.

    Args:
        images: bytes, shape ``(N, C, H, W)``, uint8; may be mapped from disk.
        labels: class of each image, shape ``(N,)``; None for a set without classes.
        maximum: the byte that stands for 1 where 0 stands for -1.
        flips: whether to mirror each drawn image left to right with probability one half.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray | None = None, maximum: int = 255, flips: bool = False):
        self.images, self.maximum, self.flips = images, maximum, flips
        self.labels = None if labels is None else torch.from_numpy(np.array(labels, dtype=np.int64))
        self._held: dict[torch.device, tuple[Tensor | None, Tensor | None]] = {}

    @property
    def classes(self) -> int:
        """Number of classes; 0 for a set without."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images, shape ``(count, C, H, W)``, float32 on the generator's device."""
        return self.draw(count, generator)[0]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The images of :meth:`sample`, and their labels ``(count,)``, int64, or None for a set without classes."""
        device = generator.device
        index = torch.randint(len(self.images), (count,), generator=generator, device=device)
        held, labels = self._on(device)
        drawn = torch.from_numpy(self.images[index.cpu().numpy()]).to(device) if held is None else held[index]
        images = drawn.float() / (self.maximum / 2) - 1
        if self.flips:
            mirrored = torch.rand(count, generator=generator, device=device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return images, None if labels is None else labels[index]

    def _on(self, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        """The set's images and labels on a device, once; no images where the mapped file is read instead."""
        if device not in self._held:
            fits = device.type == "cuda" and 2 * self.images.nbytes <= torch.cuda.mem_get_info(device)[0]
            labels = None if self.labels is None else self.labels.to(device)
            self._held[device] = (self._moved(device) if fits else None, labels)
        return self._held[device]

    def _moved(self, device: torch.device) -> Tensor:
        whole = torch.empty(self.images.shape, dtype=torch.uint8, device=device)
        rows = max(1, CHUNK // self.images[0].nbytes)
        for start in range(0, len(whole), rows):
            whole[start : start + rows] = torch.from_numpy(np.array(self.images[start : start + rows]))
        return whole
