"""Generated images on disk: bytes of several sets in one mapped file, and an index that says what each of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ttfm.evaluation.quantisation import quantise
from ttfm.evaluation.scoring import diverged
from ttfm.files import read_json, replacing, require_content, sha256, write_json

Piece = Callable[[int, int], Tensor]
"""From the indices start and end to the samples of start .. end - 1, shape ``(end - start, *shape)``: floats, or bytes
``(end - start, C, H, W)`` where they are images already."""


@dataclass(frozen=True)
class Set:
    """One set of generated images.

    Attributes:
        about: what its rows of the long table have in common: student, seed, steps and the like.
        failed: why its images are none; empty if they are.
        off_path: why an image does not belong to the teacher's from the same noise; empty if it does.
        exact: whether it is the teacher's fine solution itself.
        snapshot: whether it was made by weights kept during training.
    """

    about: dict[str, Any]
    failed: str = ""
    off_path: str = ""
    exact: bool = False
    snapshot: bool = False


@dataclass(frozen=True)
class SampleSets:
    """What a sampling step wrote.

    Attributes:
        images: bytes, shape ``(sets, N, C, H, W)``, uint8, mapped; index n of every set belongs to noise n.
        sets: what each of them is.
        count: the number of samples of each.
    """

    images: np.ndarray
    sets: tuple[Set, ...]
    count: int


def write_sets(
    images: Path,
    index: Path,
    sets: Sequence[tuple[Set, Piece | None]],
    shape: tuple[int, ...],
    size: int,
    scale: float,
    decode: Callable[[Tensor], Tensor] = lambda samples: samples,
) -> None:
    """Sample piece by piece, decode, quantise, and write; the index is written last.

    A set with a value that is not finite, or whose root mean square is that of no image, has failed and stays black.

    Args:
        images: where to write the bytes (npy).
        index: where to write the index (JSON).
        sets: each set, and what makes its pieces; None for one that has failed already.
        shape: ``(N, C, H, W)``.
        size: samples per piece.
        scale: mean square of the teacher's solution.
        decode: from samples to images in [-1, 1], where they are something else.
    """
    found = []
    with replacing(images) as temporary:
        np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=(len(sets), *shape))
        for number, (about, make) in enumerate(sets):
            entry = asdict(about)
            if make is not None:
                with row_to_fill(temporary, number) as row:
                    entry["failed"] = _fill(row, make, size, scale, decode)
            found.append(entry)
    write_json(index, {"count": shape[0], "sets": found, "sha256": sha256(images)})


@contextmanager
def row_to_fill(path: Path, number: int) -> Iterator[np.ndarray]:
    """One row of an array on disk (npy), mapped to be written.

    It is mapped for no longer than that: what was written of a mapping counts as the process's memory until then.
    """
    array = np.lib.format.open_memmap(path, mode="r+")
    yield array[number]
    array.flush()


def _fill(row: np.ndarray, make: Piece, size: int, scale: float, decode: Callable[[Tensor], Tensor]) -> str:
    """Fill one set; why it failed, or nothing."""
    square = 0.0
    for start in range(0, len(row), size):
        samples = make(start, min(start + size, len(row))).cpu()
        if samples.dtype == torch.uint8:
            row[start : start + len(samples)] = samples.numpy()
            continue
        samples = samples.float()
        images = decode(samples)
        if bad := max(_not_finite(samples), _not_finite(images)):
            row[:] = 0
            return f"{bad} of {len(samples)} samples are not finite"
        square += samples.double().square().mean().item() * len(samples) / len(row)
        row[start : start + len(samples)] = quantise(images).numpy()
    if reason := diverged(square, scale):
        row[:] = 0
    return reason


def _not_finite(samples: Tensor) -> int:
    """How many of the samples ``(N, *shape)`` hold a value that is not finite."""
    return int((~samples.isfinite().flatten(1).all(dim=1)).sum())


def read_sets(images: Path, index: Path) -> SampleSets:
    """What :func:`write_sets` wrote.

    Raises:
        DamagedResult: naming the file with both digests, if the images are damaged.
    """
    about = read_json(index)
    require_content(images, about["sha256"], "images")
    array = np.load(images, mmap_mode="r", allow_pickle=False)
    return SampleSets(array, tuple(Set(**entry) for entry in about["sets"]), about["count"])


def pieces_of(pixels: np.ndarray) -> Piece:
    """Bytes that are there already, as a maker of pieces."""
    return lambda start, end: torch.from_numpy(np.array(pixels[start:end]))
