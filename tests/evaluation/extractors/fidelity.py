"""What torch-fidelity's own path is asked to compare: images of an array, and our network in its precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from ttfm.evaluation import extractors


class Bytes(torch.utils.data.Dataset):
    def __init__(self, pixels: np.ndarray):
        self.pixels = torch.from_numpy(pixels).repeat(1, 3, 1, 1)

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.pixels[index]


class Doubled(extractors.DigitsExtractor):
    """The digits' network with features in double precision: torch-fidelity then sums in it, as we do."""

    def forward(self, input):
        return tuple(features.double() for features in super().forward(input))


@contextmanager
def registered() -> Iterator[str]:
    """The name by which torch-fidelity knows :class:`Doubled` meanwhile."""
    FEATURE_EXTRACTORS_REGISTRY["digits-doubled"] = Doubled
    yield "digits-doubled"
    del FEATURE_EXTRACTORS_REGISTRY["digits-doubled"]
