"""Training images drawn at random from a set of bytes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ttfm.data.rows import Rows


class Images(Rows):
    """Images drawn with replacement, mirrored at random if asked, in [-1, 1]. The set stays as bytes; see ``Held``.

    Args:
        images: bytes, shape ``(N, C, H, W)``, uint8; may be mapped from disk.
        labels: class of each image, shape ``(N,)``; None for a set without classes.
        maximum: the byte that stands for 1 where 0 stands for -1.
        flips: whether to mirror each drawn image left to right with probability one half.
        classes: number of classes, see ``Rows``.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        maximum: int = 255,
        flips: bool = False,
        classes: int | None = None,
    ):
        super().__init__(images, labels, classes)
        self.images, self.maximum, self.flips = images, maximum, flips

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Images ``(count, C, H, W)``, float32 on the generator's device, and their labels ``(count,)`` or None."""
        index = torch.randint(len(self.images), (count,), generator=generator, device=generator.device)
        images = self._data.take(index).float() / (self.maximum / 2) - 1
        if self.flips:
            mirrored = torch.rand(count, generator=generator, device=generator.device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return images, self._classes_of(index)
