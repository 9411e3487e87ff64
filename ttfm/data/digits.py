"""The 1,797 real handwritten 8x8 digits that scikit-learn ships (Alpaydin & Kaynak, UCI, 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ttfm.data.arrays import Split, as_floats
from ttfm.data.finding import Found

SPLIT_SEED = 0
TRAIN = 899
"""Images 0 .. TRAIN-1 of a fixed permutation are for training, the other 898 are the test split."""


@dataclass(frozen=True)
class Digits:
    """The digits: 899 for training and 898 for testing. Never mirrored: a mirrored digit is another sign or none."""

    kind = "images"
    shape = (1, 8, 8)
    maximum = 16
    classes = 10
    available = 898
    closed_form = False
    source = "the handwritten digits of scikit-learn (Alpaydin & Kaynak, UCI, 1998)"

    def read(self, assets: str | None = None, scratch: Path | None = None) -> Found:
        """Images ``(N, 1, 8, 8)`` of bytes 0 .. 16 and labels; nothing is looked for, scikit-learn has them."""
        from sklearn.datasets import load_digits  # imports scipy; only digits pay for it

        digits = load_digits()
        order = np.random.default_rng(SPLIT_SEED).permutation(len(digits.images))
        images, labels = digits.images[order, None].astype(np.uint8), digits.target[order].astype(np.int64)
        splits = {"train": Split(images[:TRAIN], labels[:TRAIN]), "test": Split(images[TRAIN:], labels[TRAIN:])}
        return Found(splits, self.classes)


def load(split: str) -> tuple[Tensor, Tensor]:
    """Images in [-1, 1], shape ``(N, 1, 8, 8)``, and labels ``(N,)`` of the split "train" or "test"."""
    found = Digits().read().splits[split]
    assert found.labels is not None
    return torch.from_numpy(as_floats(found.images, Digits.maximum)), torch.from_numpy(found.labels)
