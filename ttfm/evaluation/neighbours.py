"""Nearest training images of samples: whether a model has learned images by heart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

QUERIES, BASE = 1024, 4096
"""Rows and columns of the matrix of distances that is held at once."""


@dataclass(frozen=True)
class Nearest:
    """The nearest of a set for each of several queries.

    Attributes:
        index: which one, shape ``(N,)``, int64.
        distance: root mean square difference per entry, shape ``(N,)``, float64.
    """

    index: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True)
class Memorisation:
    """Distances of samples to their nearest training images beside those of unseen real images.

    Attributes:
        ratio: the median distance of the samples over that of the unseen images; far below 1 for copies.
        copied: share of samples closer to a training image than all but the lowest percentile of the unseen images.
        percentile: that percentile: the share that unseen images themselves have.
        samples: the 5 %, 50 % and 95 % quantiles of the samples' distances.
        unseen: the same of the unseen images.
    """

    ratio: float
    copied: float
    percentile: float
    samples: tuple[float, float, float]
    unseen: tuple[float, float, float]


def nearest(queries: np.ndarray, base: np.ndarray, device: str = "cpu") -> Nearest:
    """The nearest entry of ``base`` for each query, by Euclidean distance, in pieces.

    Candidates come from inner products in float32, whose rounding can matter between two at nearly the same distance;
    the distance itself is computed again from the differences, so that a copy is at distance zero.

    Args:
        queries: bytes or features, shape ``(N, *shape)``; bytes count as pixels in [-1, 1].
        base: the set searched, shape ``(M, *shape)``; mapped arrays are read piece by piece.
        device: "cpu" or "cuda".

    Raises:
        ValueError: if the shapes of the entries differ, or a set is empty.
    """
    if queries.shape[1:] != base.shape[1:] or not (len(queries) and len(base)):
        raise ValueError(f"neighbours need two sets of one kind, not {queries.shape} and {base.shape}")
    index = np.empty(len(queries), dtype=np.int64)
    distance = np.empty(len(queries))
    for start in range(0, len(queries), QUERIES):
        a = _rows(queries[start : start + QUERIES], device)
        best = torch.full((len(a),), torch.inf, device=device)
        where = torch.zeros(len(a), dtype=torch.int64, device=device)
        for first in range(0, len(base), BASE):
            b = _rows(base[first : first + BASE], device)
            # |a - b|^2 without |a|^2, which does not move the minimum.
            value, position = (b.square().sum(1) - 2 * a @ b.T).min(dim=1)
            closer = value < best
            best, where = torch.where(closer, value, best), torch.where(closer, position + first, where)
        found = where.cpu().numpy()
        index[start : start + len(a)] = found
        apart = a.double() - _rows(base[found], device).double()
        distance[start : start + len(a)] = apart.square().mean(1).sqrt().cpu().numpy()
    return Nearest(index, distance)


def _rows(values: np.ndarray, device: str) -> Tensor:
    """Entries as rows of float32; bytes as pixels in [-1, 1]."""
    rows = torch.from_numpy(np.array(values)).to(device).flatten(1)
    return rows.float() / 127.5 - 1 if rows.dtype == torch.uint8 else rows.float()


def memorisation(samples: np.ndarray, unseen: np.ndarray, percentile: float = 1.0) -> Memorisation:
    """Whether samples lie closer to the training images than unseen real images do.

    Args:
        samples: distances of samples to their nearest training images, shape ``(N,)``.
        unseen: the same of test images, shape ``(M,)``.
        percentile: in (0, 100); below this percentile of ``unseen`` a sample counts as copied.

    Raises:
        ValueError: if there are no samples, or too few unseen images for the percentile.
    """
    if not len(samples) or len(unseen) * percentile < 100:
        raise ValueError(
            f"{percentile:g} % of {len(unseen)} unseen images is less than one; give more of them, or a larger share"
        )
    copied = float((samples < np.percentile(unseen, percentile)).mean())
    ratio = float(np.median(samples) / np.median(unseen))
    return Memorisation(ratio, copied, percentile / 100, _quantiles(samples), _quantiles(unseen))


def _quantiles(distances: np.ndarray) -> tuple[float, float, float]:
    low, middle, high = np.quantile(distances, [0.05, 0.5, 0.95]).tolist()
    return low, middle, high
