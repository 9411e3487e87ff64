"""Checks that all metrics share: what cannot be measured is said in words, never returned as a number."""

from __future__ import annotations

import torch
from torch import Tensor


def require_finite(x: Tensor, what: str) -> Tensor:
    """Return ``x`` ``(N, *shape)`` unchanged.

    Raises:
        ValueError: saying how many of the N entries of ``what`` are not finite, if any.
    """
    bad = sum(not entry for entry in torch.isfinite(x).reshape(len(x), -1).all(dim=1).tolist())
    if bad:
        raise ValueError(f"{bad} of {len(x)} {what} are not finite")
    return x


def require_pairs(x: Tensor, y: Tensor) -> None:
    """Check that ``x`` and ``y`` pair up sample by sample.

    Raises:
        ValueError: if their shapes differ or they hold no samples.
    """
    if x.shape != y.shape or not x.numel():
        raise ValueError(f"paired samples need one common, non-empty shape, not {tuple(x.shape)} and {tuple(y.shape)}")
    require_finite(x, "samples")
    require_finite(y, "samples compared with")
