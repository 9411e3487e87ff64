"""CIFAR-10 (Krizhevsky, 2009): 50,000 + 10,000 colour photographs of 32 x 32 pixels in ten classes."""

from __future__ import annotations

import io
import pickletools
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ttfm.data.arrays import Split
from ttfm.data.finding import (
    DamagedData,
    DataUnavailable,
    Found,
    Limit,
    download,
    first,
    require_digest,
    require_pixels,
)

SIDE = 32
FOLDERS = ("cifar10", "cifar-10-batches-py", "cifar-10-batches-bin")
"""Folders that hold the set: parquet files, the official batches for Python, the official binary batches."""
BATCHES = {
    "train": {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
}
"""The official batches for Python and their md5, as in torchvision's ``CIFAR10``: it tells which of them is damaged."""
ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
PIXELS = {
    "train": "1e91790dbaf241617ca1f29a9aba08eb9a62df84cc90676b47edd05ad2ab3c94",
    "test": "9a4c74f5c8b6f2c4e13d3a1dfb43a5a8cda8a9da515e99fd620d2013a1a6287a",
}
"""sha256 of the images (N, 3, 32, 32) followed by the labels, a byte each, in the official order: every format is held
to it. Channel means of the training images: .49140 .48216 .44653."""


@dataclass(frozen=True)
class CIFAR10:
    """CIFAR-10.

    Attributes:
        flips: mirror training images at random; objects keep their class in a mirror.
        limit: use only the first so many training images.
    """

    flips: bool = True
    limit: Limit = None

    kind = "images"
    shape = (3, SIDE, SIDE)
    maximum = 255
    classes = 10
    available = 10_000
    closed_form = False
    source = "CIFAR-10 (Krizhevsky, 2009)"

    def read(self, assets: str | None, scratch: Path) -> Found:
        """Images ``(N, 3, 32, 32)`` and labels, in the official order.

        Args:
            assets: folder of data; see :func:`ttfm.data.finding.places`.
            scratch: unused; the set fits into memory.

        Raises:
            DataUnavailable: if it is neither here nor to be downloaded.
            DamagedData: naming the file or folder, if it is not the published set.
        """
        folder = first(FOLDERS, assets) or download(
            "CIFAR-10", "cifar-10-batches-py", "the folder cifar-10-batches-py of cs.toronto.edu", assets, _fetch
        )
        splits = {name: read_split(folder, name) for name in ("train", "test")}
        require_pixels("CIFAR-10", folder, splits, PIXELS)
        splits["train"] = splits["train"].first(self.limit)
        return Found(splits, self.classes, {"folder": folder.name}, folder)


def read_split(folder: Path, split: str) -> Split:
    """One split of a folder in any of the three formats, not yet held to :data:`PIXELS`.

    Raises:
        DamagedData: naming the file, if it cannot be read or its md5 is not the official one.
    """
    read = _parquet if folder.name == "cifar10" else _binary if folder.name.endswith("bin") else _batches
    images, labels = read(folder, split)
    return Split(np.ascontiguousarray(images.reshape(-1, 3, SIDE, SIDE)), labels.astype(np.int64))


def _batches(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for name, md5 in BATCHES[split].items():
        content = _content(folder / name)
        require_digest(folder / name, content, md5, "md5")
        pixels, marks = _unpacked(folder / name, content)
        images.append(pixels)
        labels.append(marks)
    return np.concatenate(images), np.concatenate(labels)


def _unpacked(path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of a batch, which is a pickle, without loading it: nothing that a pickle names is looked up.

    Of the operations that it consists of these are the longest string and the integers behind the string "labels".
    """
    pixels, labels, last = "", [], ""
    try:
        for operation, value, _ in pickletools.genops(content):
            if isinstance(value, str):
                last = value
                pixels = max(pixels, value, key=len)
            elif last == "labels" and operation.name.startswith("BININT"):
                labels.append(value)
        return np.frombuffer(pixels.encode("latin-1"), np.uint8).reshape(-1, 3 * SIDE**2), np.asarray(labels)
    except ValueError as error:
        raise DamagedData(f"{path}: no batch of CIFAR-10 ({error}); delete the file or replace it") from None


def _binary(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a label and 3,072 pixels."""
    rows = []
    for name in BATCHES[split]:
        content = np.frombuffer(_content(folder / f"{name}.bin"), np.uint8)
        if len(content) % (1 + 3 * SIDE**2):
            raise DamagedData(f"{folder / name}.bin: damaged: {len(content)} bytes are no whole number of images")
        rows.append(content.reshape(-1, 1 + 3 * SIDE**2))
    table = np.concatenate(rows)
    return table[:, 1:], table[:, 0]


def _parquet(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Columns ``img`` (struct of ``bytes``, an image file, and ``path``) and ``label``, in files split-*.parquet."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise DataUnavailable(
            f"{folder}: parquet files are read by pyarrow, which is not installed; run pip install pyarrow"
        ) from None
    files = sorted(folder.glob(f"{split}-*.parquet"))
    if not files:
        raise DamagedData(f"{folder}: no {split}-*.parquet; add the missing files or remove the folder")
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for path in files:
        before = len(images)
        try:
            for batch in pyarrow.parquet.ParquetFile(path).iter_batches(1024, columns=["img", "label"]):
                column = batch.column("img")
                if not pyarrow.types.is_struct(column.type):
                    raise DamagedData(
                        f"{path}: column img is {column.type} and not a struct with the entry bytes; replace the file"
                    )
                for encoded in column.field("bytes"):
                    images.append(_decoded(path, len(images) - before, encoded.as_py()))
                labels.append(batch.column("label").to_numpy())
        except (pyarrow.ArrowException, OSError, KeyError) as error:
            raise DamagedData(f"{path}: damaged, or of another schema ({error}); replace the file") from None
    return np.stack(images).transpose(0, 3, 1, 2), np.concatenate(labels)


def _decoded(path: Path, row: int, encoded: bytes | None) -> np.ndarray:
    """The pixels of an image file in a row of a parquet file, ``(32, 32, 3)``.

    Raises:
        DamagedData: naming file and row, if it is not an image of this size.
    """
    from PIL import Image

    if not isinstance(encoded, bytes):
        raise DamagedData(f"{path}: row {row} has no image; replace the file")
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise DamagedData(f"{path}: the image of row {row} cannot be read; replace the file") from None
    if pixels.shape != (SIDE, SIDE, 3):
        size = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise DamagedData(f"{path}: the image of row {row} has {size} pixels, not {SIDE} x {SIDE}; replace the file")
    return pixels


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DamagedData(f"{path}: missing; add the file or remove its folder") from None


def _fetch(folder: Path) -> None:
    """The archive that torchvision takes too, by its sha256; torchvision itself would unpickle what is in it."""
    from torch.hub import download_url_to_file

    archive = folder / ARCHIVE.rpartition("/")[2]
    download_url_to_file(ARCHIVE, str(archive), hash_prefix=ARCHIVE_SHA256, progress=False)
    shutil.unpack_archive(archive, folder)
    archive.unlink()
