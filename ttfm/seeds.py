"""Randomness by name: every random number is a function of (seed, stream, index), never of what ran before.

Losses that train on the same seed therefore see the same data in the same order, whatever they draw besides, and noise
for evaluation belongs to a sample's index, not to a batch or a device.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BLOCK = 256
"""Evaluation noise is drawn in blocks of this many consecutive indices, each from a generator of its own."""


def generator(seed: int, stream: str, index: int = 0, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator determined by (seed, stream, index).

    Args:
        seed: non-negative integer.
        stream: what the numbers are for; different names give independent numbers.
        index: step, block or any other non-negative counter within the stream.
        device: where the numbers are drawn; CPU and GPU generators give different numbers.
    """
    # The name itself, not its place in some list: a new stream must not change the numbers of the others.
    state = np.random.SeedSequence([seed, zlib.crc32(stream.encode()), index]).generate_state(1, np.uint64)[0]
    # manual_seed takes a signed 64-bit value; one bit less than the state has keeps it in range.
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


def indexed_noise(
    seed: int, count: int, shape: tuple[int, ...], stream: str = "evaluation-noise", draw: int = 0, start: int = 0
) -> Tensor:
    """Standard normal noise for sample indices start .. count-1, a function of each index alone.

    Args:
        seed: non-negative integer.
        count: number of samples.
        shape: shape of one sample.
        stream: name of the stream.
        draw: which of several independent noises per sample (re-noising steps).
        start: the first index.

    Returns:
        Shape ``(count - start, *shape)``.
    """
    first, end = start // BLOCK, -(-count // BLOCK)
    noise = [torch.randn(BLOCK, *shape, generator=generator(seed, stream, draw * 2**32 + b)) for b in range(first, end)]
    return torch.cat(noise)[start - first * BLOCK : count - first * BLOCK]


GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, modulo 1, fill the unit interval evenly, however many there are."""


def indexed_labels(count: int, classes: int, first: int = 0, counts: Sequence[int] | None = None) -> Tensor:
    """Classes of the evaluation's samples ``first`` .. ``first + count - 1``, ``(count,)``: a function of the index.

    They come as often as in the training data: generated images are compared with sets that have that mixture.

    Args:
        count: number of samples.
        classes: number of classes.
        first: index of the first sample.
        counts: how often each class occurs in the training data; None where all do equally: then they come in turn.
    """
    index = torch.arange(first, first + count)
    if counts is None:
        return index % classes
    ends = torch.tensor(counts, dtype=torch.float64).cumsum(0)
    return torch.searchsorted(ends, index.double() * GOLDEN % 1 * ends[-1], right=True)


def chosen(count: int, total: int) -> np.ndarray:
    """Indices of ``count`` of ``total`` entries in ascending order, the same every time; all where there are no more.

    Sets may be sorted, by class say: their first entries would not stand for the rest.
    """
    return np.sort(np.random.default_rng(0).permutation(total)[:count])
