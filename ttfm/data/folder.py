"""Any folder of images, and CelebA-HQ as one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from ttfm.data.arrays import Split
from ttfm.data.decoding import SUFFIXES, Decoder
from ttfm.data.finding import DataUnavailable, Found, Limit, places
from ttfm.options import Range
from ttfm.seeds import chosen

Side = Annotated[int, Range(4)]
SPLITS = frozenset(["train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"])
"""What folders of splits are called. Where all subfolders have such names, they are no classes."""


@dataclass(frozen=True)
class Folder:
    """A folder of images, with subfolders at will; the largest central square of each, resized (see ``Decoder``).

    Subfolders ``train`` and ``test`` are the splits, if both are there; else a fixed permutation holds out a share.

    Attributes:
        path: the folder; a relative one is looked for where the command runs, then in the folders of data.
        size: side of the images in pixels.
        channels: 1 (grey) or 3 (colour).
        test_share: share of the images that is held out for the test split, where there are no such subfolders.
        split_seed: seed of the permutation that decides which.
        labelled: whether the first subfolder of an image (below its split) is its class; classes in alphabetical order.
        skip_damaged: leave out files that cannot be used and count them, instead of failing.
        flips: mirror training images at random; switch it off where left and right differ, in text say.
        limit: use only so many training images: the first, or where they have classes a fixed choice of all.
    """

    path: str
    size: Side = 64
    channels: Literal[1, 3] = 3
    test_share: Annotated[float, Range(0, 1, open_="both")] = 0.1
    split_seed: Annotated[int, Range(0)] = 0
    labelled: bool = False
    skip_damaged: bool = False
    flips: bool = True
    limit: Limit = None

    kind = "images"
    shape = ("channels", "size", "size")
    maximum = 255
    classes = None
    available = None
    closed_form = False
    source = "a folder of images"

    def read(self, assets: str | None, scratch: Path) -> Found:
        """Decode all images, in the order of their paths within each split.

        Args:
            assets: folder of data; see :func:`ttfm.data.finding.places`.
            scratch: folder to decode into; the arrays stay mapped from there.

        Raises:
            DataUnavailable: if the folder is not there, or has too few images to be split.
            DamagedData: naming the files that cannot be used.
        """
        root = self._find(assets)
        listed = {name: _images(root / name) for name in ("train", "test")}
        if not _has_splits(root):
            listed = self._held_out(_images(root))
        if empty := [name for name, files in listed.items() if not files]:
            raise DataUnavailable(
                f"{root}: no images ({' '.join(SUFFIXES)}) for the {empty[0]} split; add images or name another folder "
                "in data.path"
            )
        classes = self._classes(root, listed["train"])
        listed["train"] = self._limited(listed["train"])
        decoder = Decoder(self.size, self.channels, skip_damaged=self.skip_damaged)
        splits = {}
        for name, files in listed.items():
            images, kept = decoder.decode(root, files, scratch / f"{name}.npy")
            labels = [self._class(root, files[index]) for index in kept] if self.labelled else []
            if unknown := sorted(set(labels) - set(classes)):
                raise DataUnavailable(f"{root}: class {unknown[0]!r} of the {name} split has no training images")
            splits[name] = Split(images, np.array([classes[c] for c in labels], np.int64) if self.labelled else None)
        notes = decoder.finish(root, splits)
        return Found(splits, len(classes), {"folder": root.name, "classes": list(classes)} | notes, root)

    def _find(self, assets: str | None) -> Path:
        given = Path(self.path).expanduser()
        tried = [given, *(place / given for place in places(assets) if not given.is_absolute())]
        if (found := next((path for path in tried if path.is_dir()), None)) is None:
            raise DataUnavailable(
                f"data.path: there is no folder {' or '.join(map(str, tried))}; correct the path or put images there"
            )
        return found

    def _held_out(self, files: list[Path]) -> dict[str, list[Path]]:
        """Both splits of a folder that has none of its own: a share of a fixed permutation, at least one image."""
        order = np.random.default_rng(self.split_seed).permutation(len(files))
        count = max(1, round(self.test_share * len(files)))
        parts = {"train": np.sort(order[count:]), "test": np.sort(order[:count])}
        return {name: [files[index] for index in part] for name, part in parts.items()}

    def _limited(self, files: list[Path]) -> list[Path]:
        """The training files that are used; they are sorted by class, and the first would be of the first classes."""
        if self.limit is None or not self.labelled:
            return files[: self.limit]
        return [files[index] for index in chosen(self.limit, len(files))]

    def _classes(self, root: Path, files: Sequence[Path]) -> dict[str, int]:
        """The number of each class, by its name; those that a limit leaves without images are among them."""
        if not self.labelled:
            return {}
        names = sorted({self._class(root, path) for path in files})
        if SPLITS.issuperset(name.lower() for name in names) and not _has_splits(root):
            raise DataUnavailable(
                f"{root}: labelled: true would take {' and '.join(names)} for classes; put a folder per class into"
                " folders named train and test, or put the folders of the classes here, without splits"
            )
        return {name: index for index, name in enumerate(names)}

    def _class(self, root: Path, path: Path) -> str:
        """The first folder below the split's, or below the root where there are no splits."""
        parts = path.relative_to(root).parts
        if _has_splits(root):
            parts = parts[1:]
        if len(parts) < 2:
            raise DataUnavailable(
                f"{path}: labelled: true takes the class from a subfolder, and this image is in none; move it into one"
            )
        return parts[0]


@dataclass(frozen=True)
class CelebAHQ(Folder):
    """CelebA-HQ (Karras et al., arXiv 1710.10196), 30,000 faces, from a folder of the user's: its terms forbid copies.

    Without subfolders train and test, 3,000 of the 30,000 are held out by the permutation of ``Folder``: the sizes of
    the usual split, not its very images.

    Attributes:
        path: the folder of images.
        size: side of the images in pixels.
    """

    path: str = "celebahq"
    size: Side = 256

    source = "CelebA-HQ (Karras et al., arXiv 1710.10196)"


def _has_splits(root: Path) -> bool:
    return (root / "train").is_dir() and (root / "test").is_dir()


def _images(folder: Path) -> list[Path]:
    """All image files below a folder, hidden ones left out, in alphabetical order of their paths."""
    found = []
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(here, name) for name in files if not name.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES)
