"""CelebA (Liu et al., arXiv 1411.7766): 202,599 aligned faces of celebrities, 178 x 218 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ttfm.data.arrays import Split
from ttfm.data.decoding import Decoder
from ttfm.data.finding import ENVIRONMENT, DamagedData, DataUnavailable, Found, Limit, first, places, require_digest
from ttfm.options import Range

PARTITION = "list_eval_partition.txt"
PARTITION_MD5 = "d32c9cbf5e040fd4025c592c306e6668"
CROP = 140
"""Side of the centre that is kept, in pixels, as in the data pipeline of score SDEs (Song et al., arXiv 2011.13456)."""
PARTS = {"train": "0", "test": "2"}
"""The splits' codes in the published partition; code 1, the validation images, is left alone."""


@dataclass(frozen=True)
class CelebA:
    """CelebA, the central 140 x 140 pixels of the aligned faces, resized; the published training and test splits.

    Attributes:
        size: side of the images in pixels.
        skip_damaged: leave out files that cannot be used and count them, instead of failing.
        flips: mirror training images at random; a face stays a face in a mirror.
        limit: use only the first so many training images.
    """

    size: Annotated[int, Range(4, CROP)] = 64
    skip_damaged: bool = False
    flips: bool = True
    limit: Limit = None

    kind = "images"
    shape = (3, "size", "size")
    maximum = 255
    classes = 0
    available = 19_962
    closed_form = False
    source = "CelebA (Liu et al., arXiv 1411.7766)"

    def read(self, assets: str | None, scratch: Path) -> Found:
        """Decode the images of torchvision's layout: ``celeba/img_align_celeba`` beside ``list_eval_partition.txt``.

        Args:
            assets: folder of data; see :func:`ttfm.data.finding.places`.
            scratch: folder to decode into; the arrays stay mapped from there.

        Raises:
            DataUnavailable: if the folder is not there.
            DamagedData: naming the files that cannot be used.
        """
        root = first(("celeba",), assets)
        if root is None or not (root / "img_align_celeba").is_dir():
            raise DataUnavailable(
                f"CelebA: no celeba/img_align_celeba in {', '.join(map(str, places(assets)))}; unpack "
                "img_align_celeba.zip in a folder celeba, put list_eval_partition.txt into that folder too, "
                f"and name the folder that holds celeba in the experiment's key assets or in {ENVIRONMENT}"
            )
        listed = self._listed(root)
        decoder = Decoder(self.size, 3, CROP, self.skip_damaged)
        splits = {}
        for name, files in listed.items():
            images, _ = decoder.decode(root / "img_align_celeba", files, scratch / f"{name}.npy")
            splits[name] = Split(images)
        return Found(splits, 0, {"folder": root.name} | decoder.finish(root, splits), root)

    def _listed(self, root: Path) -> dict[str, list[Path]]:
        """The files of each split in the published order."""
        partition = root / PARTITION
        if not partition.is_file():
            raise DamagedData(f"{partition}: missing; it says which images are for testing, add it")
        content = partition.read_bytes()
        require_digest(partition, content, PARTITION_MD5, "md5")
        rows = [line.split() for line in content.decode("ascii").splitlines()]
        listed = {
            name: [root / "img_align_celeba" / file for file, part in rows if part == code]
            for name, code in PARTS.items()
        }
        return listed | {"train": listed["train"][: self.limit]}
