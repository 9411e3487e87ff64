"""Nearest training images of samples: whether a model has learned images by heart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ttfm.pieces import at_once

QUERIES, BASE = 1024, 4096
"""Rows and columns of the matrix of distances that is held at once; fewer of large images."""
ROOM = 2**26
"""Numbers of the queries that are held at once. The base is read again for each piece of them: it has to be large."""


@dataclass(frozen=True)
class Nearest:
    """The nearest entries of a set for each of several queries, the closest first.

    Attributes:
        index: which ones, shape ``(N, count)``, int64; from ``len(base)`` on they are mirrored ones, see
            :func:`entries`.
        distance: root mean square difference per entry, shape ``(N, count)``, float64.
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


def nearest(
    queries: np.ndarray, base: np.ndarray, count: int = 1, mirrored: bool = False, device: str = "cpu"
) -> Nearest:
    """The ``count`` nearest entries of ``base`` for each query, by Euclidean distance, in pieces.

    Candidates come from inner products in float32, whose rounding can matter between two at nearly the same distance;
    the distance itself is computed again from the differences, so that a copy is at distance zero.

    Args:
        queries: bytes or features, shape ``(N, *shape)``; bytes count as pixels in [-1, 1].
        base: the set searched, shape ``(M, *shape)``, of the same type; mapped arrays are read piece by piece.
        count: number of neighbours, at most M.
        mirrored: whether entries also count mirrored left to right (last axis), as a model saw them that trained on
            random flips.
        device: "cpu" or "cuda".

    Raises:
        ValueError: if the shapes or types of the entries differ, a set is empty, or ``count`` is more than there are.
    """
    alike = queries.shape[1:] == base.shape[1:] and queries.dtype == base.dtype
    if not (alike and len(queries) and len(base)):
        raise ValueError(
            f"neighbours need two sets of one kind, not {queries.dtype} {queries.shape} and {base.dtype} {base.shape}"
        )
    if not 1 <= count <= len(base):
        raise ValueError(f"{count} neighbours cannot be found among {len(base)}")
    index = np.empty((len(queries), count), dtype=np.int64)
    distance = np.empty((len(queries), count))
    size = at_once(queries.shape[1:], QUERIES, ROOM)
    for start in range(0, len(queries), size):
        piece = queries[start : start + size]
        found = _candidates(piece, base, count, mirrored, device)
        apart = np.stack([_apart(piece, base, column, device) for column in found.T], axis=1)
        order = np.argsort(apart, axis=1, kind="stable")
        index[start : start + len(piece)] = np.take_along_axis(found, order, axis=1)
        distance[start : start + len(piece)] = np.take_along_axis(apart, order, axis=1)
    # 255 levels of a byte are 2 of a pixel in [-1, 1].
    return Nearest(index, distance / 127.5 if queries.dtype == np.uint8 else distance)


def _apart(queries: np.ndarray, base: np.ndarray, index: np.ndarray, device: str) -> np.ndarray:
    """The root mean square difference of each query from one entry, shape ``(n,)``, in float64."""
    found = np.empty(len(queries))
    size = at_once(queries.shape[1:], QUERIES)
    for start in range(0, len(queries), size):
        here = slice(start, start + size)
        difference = _rows(queries[here], device).double() - _rows(entries(base, index[here]), device).double()
        found[here] = difference.square().mean(1).sqrt().cpu().numpy()
    return found


def _candidates(queries: np.ndarray, base: np.ndarray, count: int, mirrored: bool, device: str) -> np.ndarray:
    """The indices of the nearest entries by inner products, shape ``(n, count)``."""
    rows = _rows(queries, device)
    if mirrored:
        # A query is as far from a mirrored entry as the mirrored query from the entry.
        rows = torch.cat([rows, _rows(queries[..., ::-1], device)])
    best = torch.full((len(queries), 0), torch.inf, device=device)
    where = torch.zeros((len(queries), 0), dtype=torch.int64, device=device)
    size = at_once(base.shape[1:], BASE)
    for first in range(0, len(base), size):
        b = _rows(base[first : first + size], device)
        # |a - b|^2 without |a|^2, which does not move the minimum.
        values = torch.addmm(b.square().sum(1), rows, b.T, alpha=-2)
        positions = torch.arange(first, first + len(b), device=device).expand(len(queries), -1)
        for turned, part in enumerate(values.split(len(queries))):
            best = torch.cat([best, part], dim=1)
            where = torch.cat([where, positions + turned * len(base)], dim=1)
            best, chosen = best.topk(min(count, best.shape[1]), dim=1, largest=False)
            where = where.gather(1, chosen)
    return where.cpu().numpy()


def entries(base: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The entries that :func:`nearest` means, shape ``(*index.shape, *shape)``; those from ``len(base)`` on mirrored.

    Args:
        base: the set searched, shape ``(M, *shape)``; may be mapped.
        index: in 0 .. 2 M - 1, any shape.
    """
    found = np.array(base[index % len(base)])
    turned = index >= len(base)
    found[turned] = found[turned][..., ::-1]
    return found


def _rows(values: np.ndarray, device: str) -> Tensor:
    """Entries as rows of float32; bytes stay numbers from 0 to 255."""
    return torch.from_numpy(np.array(values)).to(device).flatten(1).float()


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
