"""Images as bytes: the one rule by which all of them are quantised."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ttfm.evaluation.checks import require_finite


def quantise(images: Tensor) -> Tensor:
    """Images in [-1, 1] as bytes: round((x + 1) 127.5), clipped to 0 .. 255; same shape, uint8.

    The only quantisation of this package: FID-like scores depend on it.

    Raises:
        ValueError: if an image holds a value that is not finite, which no byte can stand for.
    """
    require_finite(images, "images")
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def full_range(images: np.ndarray, maximum: int) -> np.ndarray:
    """Bytes 0 .. ``maximum`` as bytes 0 .. 255, by the same rule as :func:`quantise`; same shape.

    Args:
        images: uint8, any shape.
        maximum: the byte that stands for 1 where 0 stands for -1.
    """
    if maximum == 255:
        return images
    levels = quantise(torch.arange(256, dtype=torch.float32) / (maximum / 2) - 1)
    return levels.numpy()[images]
