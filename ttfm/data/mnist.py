"""MNIST (LeCun et al., 1998) and Fashion-MNIST (Xiao et al., arXiv 1708.07747): 60,000 + 10,000 grey 28 x 28 images."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ttfm.data.arrays import Split
from ttfm.data.finding import DamagedData, Found, Limit, download, first, require_digest

SIDE = 28
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class MNIST:
    """MNIST: handwritten digits.

    Attributes:
        flips: mirror training images at random; off, since a mirrored digit is another sign or none.
        limit: use only the first so many training images.
    """

    flips: bool = False
    limit: Limit = None

    kind = "images"
    shape = (1, SIDE, SIDE)
    maximum = 255
    classes = 10
    available = 10_000
    closed_form = False
    source = "MNIST (LeCun et al., 1998)"
    folder: ClassVar[str] = "MNIST"
    digests: ClassVar[tuple[str, ...]] = (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    )
    """sha256 of the unpacked files: training images and labels, test images and labels."""

    def read(self, assets: str | None, scratch: Path) -> Found:
        """Images ``(N, 1, 28, 28)`` and labels, in the published order.

        Looks for torchvision's layout, ``<folder>/raw`` with the files as they are or packed by gzip.

        Args:
            assets: folder of data; see :func:`ttfm.data.finding.places`.
            scratch: unused; the set fits into memory.

        Raises:
            DataUnavailable: if it is neither here nor to be downloaded.
            DamagedData: naming the file, if it is missing, cut off or not the published one.
        """
        wanted = f"torchvision's folder {self.folder}"
        found = first((f"{self.folder}/raw",), assets)
        raw = found or download(self.folder, self.folder, wanted, assets, self._fetch) / "raw"
        splits = self._read(raw)
        splits["train"] = splits["train"].first(self.limit)
        return Found(splits, self.classes, {"folder": f"{self.folder}/raw"}, raw)

    def _read(self, raw: Path) -> dict[str, Split]:
        expected = iter(self.digests)
        return {
            split: Split(
                _idx(raw / images, next(expected)).reshape(-1, 1, SIDE, SIDE),
                _idx(raw / labels, next(expected)).astype(np.int64),
            )
            for split, (images, labels) in FILES.items()
        }

    def _fetch(self, folder: Path) -> None:
        from torchvision import datasets

        getattr(datasets, self.folder)(str(folder), download=True)
        # By their sha256, before they are moved to where they will be found: torchvision's own digests are md5.
        self._read(folder / self.folder / "raw")


@dataclass(frozen=True)
class FashionMNIST(MNIST):
    """Fashion-MNIST: articles of clothing.

    Attributes:
        flips: mirror training images at random; off, since all shoes of the set point the same way.
        limit: use only the first so many training images.
    """

    source = "Fashion-MNIST (Xiao et al., arXiv 1708.07747)"
    folder: ClassVar[str] = "FashionMNIST"
    digests: ClassVar[tuple[str, ...]] = (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    )


def _idx(path: Path, sha256: str) -> np.ndarray:
    """The bytes of an idx file, plain or packed: two zeros, type 8 (byte), rank, big-endian sizes, then the data."""
    packed = path.with_name(f"{path.name}.gz")
    try:
        content = path.read_bytes() if path.is_file() else gzip.decompress(packed.read_bytes())
    except FileNotFoundError:
        raise DamagedData(f"{packed}: missing; add the file or remove the folder {path.parent}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedData(f"{packed}: damaged gzip file ({error}); delete the file or replace it") from None
    require_digest(path if path.is_file() else packed, content, sha256)
    rank = content[3]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(np.frombuffer(content, ">i4", rank, 4))
