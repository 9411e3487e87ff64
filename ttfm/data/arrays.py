"""Sets of images as every step reads them: bytes in a folder, mapped into memory, checked against their sha256."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ttfm.files import read_json, replacing, require_content, sha256, write_json

ABOUT, COUNTS = "about.json", "class_counts"
"""Name of the file that says what lies in the folder; written last, so that a folder with it is complete."""


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        images: bytes, shape ``(N, C, H, W)``, uint8; mapped from disk when read.
        labels: class of each image, shape ``(N,)``, int64; None for a set without classes.
    """

    images: np.ndarray
    labels: np.ndarray | None = None

    def first(self, count: int | None) -> Split:
        """The first ``count`` images; all where it is None."""
        labels = None if self.labels is None else self.labels[:count]
        return Split(self.images[:count], labels)


@dataclass(frozen=True)
class ImageSet:
    """A set of images with its splits, "train" and "test" among them.

    Attributes:
        splits: the splits by name.
        maximum: the byte that stands for 1 where 0 stands for -1: 255, or 16 for the digits.
        classes: number of classes; 0 for a set without.
        about: content of the folder's ``about.json``.
    """

    splits: dict[str, Split]
    maximum: int
    classes: int
    about: dict[str, Any]


def write_images(folder: Path, splits: Mapping[str, Split], maximum: int, classes: int, source: str) -> None:
    """Write a set as one ``.npy`` per array and, last, ``about.json`` with their sha256.

    Args:
        folder: where to; created if missing.
        splits: the splits by name.
        maximum: the byte that stands for 1.
        classes: number of classes, 0 for none.
        source: where the images come from, in words for the report.

    Raises:
        ValueError: if an array has another type or shape than its kind asks for.
    """
    found: dict[str, Any] = {}
    for name, split in splits.items():
        if split.images.dtype != np.uint8 or split.images.ndim != 4 or not len(split.images):
            raise ValueError(
                f"{name}: images must be uint8 (N, C, H, W), not {split.images.dtype} {split.images.shape}"
            )
        arrays = {f"{name}-images.npy": split.images}
        if split.labels is not None:
            if split.labels.shape != (len(split.images),):
                raise ValueError(f"{name}: {len(split.images)} images cannot have labels of shape {split.labels.shape}")
            arrays[f"{name}-labels.npy"] = split.labels.astype(np.int64)
        for file, array in arrays.items():
            with replacing(folder / file) as temporary:
                np.save(temporary, array, allow_pickle=False)
        digests = {file: sha256(folder / file) for file in arrays}
        found[name] = {"count": len(split.images), "shape": list(split.images.shape[1:]), "sha256": digests}
    about = {"source": source, "maximum": maximum, "classes": classes, "splits": found}
    write_json(folder / ABOUT, about | class_counts(splits["train"].labels, classes))


def class_counts(labels: np.ndarray | None, classes: int) -> dict[str, list[int]]:
    """How many training images there are of each class, as an entry of ``about.json``; none for a set without."""
    return {} if labels is None else {COUNTS: np.bincount(labels, minlength=classes).tolist()}


def unequal_counts(folder: Path) -> list[int] | None:
    """The entry that :func:`class_counts` made of a folder of images or latents; None where all classes are equal."""
    counts: list[int] = read_json(folder / ABOUT).get(COUNTS, [])
    return counts if len(set(counts)) > 1 else None


def read_images(folder: Path) -> ImageSet:
    """Read what :func:`write_images` wrote; the images stay on disk until they are looked at.

    Raises:
        ValueError: naming the file, if it is missing.
        DamagedResult: with the expected and the found sha256, if it is damaged.
    """
    about = read_json(folder / ABOUT)
    splits = {}
    for name, entry in about["splits"].items():
        for file, expected in entry["sha256"].items():
            if not (folder / file).is_file():
                raise ValueError(f"{folder / file}: missing; delete the folder and run the same command again")
            require_content(folder / file, expected, "images")
        labels = folder / f"{name}-labels.npy"
        splits[name] = Split(
            np.load(folder / f"{name}-images.npy", mmap_mode="r", allow_pickle=False),
            np.load(labels, allow_pickle=False) if labels.name in entry["sha256"] else None,
        )
    return ImageSet(splits, about["maximum"], about["classes"], about)


def as_floats(images: np.ndarray, maximum: int) -> np.ndarray:
    """Bytes as float32 in [-1, 1]: 0 becomes -1, ``maximum`` becomes 1; same shape."""
    return images.astype(np.float32) / np.float32(maximum / 2) - np.float32(1)
