"""The 1,797 real handwritten 8x8 digits that scikit-learn ships (Alpaydin & Kaynak, UCI, 1998)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SPLIT_SEED = 0
TRAIN = 899
"""Images 0 .. TRAIN-1 of a fixed permutation are for training, the other 898 are the test split."""


def load(split: str) -> tuple[Tensor, Tensor]:
    """Images in [-1, 1], shape ``(N, 1, 8, 8)``, and labels ``(N,)`` of the split "train" or "test"."""
    from sklearn.datasets import load_digits  # imports scipy; only digits pay for it

    digits = load_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(digits.images))
    index = order[:TRAIN] if split == "train" else order[TRAIN:]
    images = torch.from_numpy(digits.images[index]).float()[:, None] / 8 - 1
    return images, torch.from_numpy(digits.target[index]).long()


class Digits:
    """Training images drawn with replacement from the train split."""

    kind = "images"
    shape = (1, 8, 8)
    closed_form = False
    available = 898

    def __init__(self) -> None:
        self.images, _ = load("train")

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images, shape ``(count, 1, 8, 8)``, on the generator's device."""
        index = torch.randint(len(self.images), (count,), generator=generator, device=generator.device)
        return self.images.to(generator.device)[index]
