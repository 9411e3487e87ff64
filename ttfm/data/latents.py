"""Training images as a pretrained autoencoder encodes them: written once, then drawn at random."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ttfm.data.arrays import ABOUT, COUNTS
from ttfm.data.rows import Rows
from ttfm.files import read_json, replacing, require_content, sha256, write_json

LATENTS, LABELS = "train-latents.npy", "train-labels.npy"
RECONSTRUCTED = "test-reconstructed.npy"
"""The test images, encoded to the posterior's mean and decoded again, as bytes."""


class Latents(Rows):
    """Latents drawn with replacement, of mirrored images with probability one half if these were encoded too.

    Where the standard deviations of the autoencoder's posterior are there, every draw samples it anew, as training in
    latent space does (Rombach et al., arXiv 2112.10752; EDM2, Karras et al., arXiv 2312.02696, which stores both too).

    Args:
        latents: float32, shape ``(M, N, P, c, h, w)``: of the N images, and where M = 2 of their mirrored twins, the
            posterior's mean and, where P = 2, its standard deviation.
        labels: class of each image, shape ``(N,)``; None for a set without classes.
        classes: number of classes, see ``Rows``.
    """

    def __init__(self, latents: np.ndarray, labels: np.ndarray | None = None, classes: int | None = None):
        super().__init__(latents.reshape(-1, *latents.shape[2:]), labels, classes)
        self.latents = latents

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Latents ``(count, c, h, w)``, float32 on the generator's device, and their labels ``(count,)`` or None."""
        device, (twins, images, parts) = generator.device, self.latents.shape[:3]
        index = torch.randint(images, (count,), generator=generator, device=device)
        row = index
        if twins == 2:
            row = index + images * (torch.rand(count, generator=generator, device=device) < 0.5)
        mean, *deviation = self._data.take(row).unbind(1)
        if parts == 2:
            mean = mean + deviation[0] * torch.randn(mean.shape, generator=generator, device=device)
        return mean, self._classes_of(index)


def write_latents(
    folder: Path, pieces: Iterable[np.ndarray], shape: tuple[int, ...], labels: np.ndarray | None
) -> dict[str, str]:
    """Write the arrays of a set piece by piece.

    Args:
        folder: where to.
        pieces: arrays ``(B, P, c, h, w)``: first of all images in their order, then of the mirrored ones, if any.
        shape: ``(M, N, P, c, h, w)``; see :class:`Latents`.
        labels: class of each image, shape ``(N,)``; None for a set without classes.

    Returns:
        The sha256 of every file by its name.

    Raises:
        ValueError: if a latent is not finite.
    """
    with replacing(folder / LATENTS) as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        rows, start = array.reshape(-1, *shape[2:]), 0
        for piece in pieces:
            if not np.isfinite(piece).all():
                raise ValueError("the autoencoder puts out latents that are not finite; its weights are damaged")
            rows[start : start + len(piece)] = piece
            start += len(piece)
        array.flush()
        del array, rows
    if labels is not None:
        with replacing(folder / LABELS) as temporary:
            np.save(temporary, labels.astype(np.int64), allow_pickle=False)
    return {name: sha256(folder / name) for name in (LATENTS, *([] if labels is None else [LABELS]))}


def write_about(folder: Path, digests: dict[str, str], counts: dict[str, list[int]], **about: Any) -> None:
    """Write, last of all, what lies in the folder, how many there are of each class and the sha256 of its files."""
    write_json(folder / ABOUT, {"latents": about, "sha256": digests} | counts)


def is_latents(folder: Path) -> bool:
    """Whether a folder holds latents, and not images."""
    return "latents" in read_json(folder / ABOUT)


def checked(folder: Path, name: str) -> Path:
    """A file of a folder of latents.

    Raises:
        ValueError: naming the file, if it is missing.
        DamagedResult: with the expected and the found sha256, if it is damaged.
    """
    path, expected = folder / name, read_json(folder / ABOUT)["sha256"][name]
    if not path.is_file():
        raise ValueError(f"{path}: missing; delete the folder and run the same command again")
    require_content(path, expected, "latents")
    return path


def read_latents(folder: Path) -> Latents:
    """The set that :func:`write_latents` and :func:`write_about` wrote; it stays on disk until it is looked at.

    Raises:
        ValueError: as :func:`checked`.
    """
    latents = np.load(checked(folder, LATENTS), mmap_mode="r", allow_pickle=False)
    about = read_json(folder / ABOUT)
    if LABELS not in about["sha256"]:
        return Latents(latents)
    labels = np.load(checked(folder, LABELS), allow_pickle=False)
    return Latents(latents, labels, len(about[COUNTS]) if COUNTS in about else None)
