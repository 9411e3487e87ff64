"""Image files of any size as one array of bytes, decoded once, one file in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ttfm.data.arrays import Split
from ttfm.data.finding import DamagedData, log

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Endings, in lower case, of what counts as an image file."""
NAMED = 5
"""Files that a message names; of the others it gives the number."""


@dataclass
class Decoder:
    """Decodes image files: upright, cropped to the centre, resized, in one number of channels.

    The filter is Pillow's Lanczos: its support grows with the factor, so that nothing aliases, and
    it keeps edges sharper than a box. It is the one of EDM's ``dataset_tool.py`` (Karras et al., arXiv 2206.00364).

    Attributes:
        size: side of the result in pixels.
        channels: 1 (grey, by ITU-R 601 luma) or 3 (RGB).
        crop: side of the centre that is kept, in pixels of the file; None: the largest square.
        skip_damaged: leave unusable files out instead of failing.
        converted: how many files were of another kind, by kind.
        damaged: why a file cannot be used, by name.
    """

    size: int
    channels: int
    crop: int | None = None
    skip_damaged: bool = False
    converted: Counter[str] = field(default_factory=Counter)
    damaged: dict[str, str] = field(default_factory=dict)

    def decode(self, root: Path, files: Sequence[Path], target: Path) -> tuple[np.ndarray, np.ndarray]:
        """Decode files below ``root`` into an array on disk; what cannot be used is noted for :meth:`finish`.

        Args:
            root: folder that names in messages are relative to.
            files: what to decode, in this order.
            target: the ``.npy`` file to decode into.

        Returns:
            The images, uint8 ``(N, channels, size, size)``, mapped from ``target``, and the index into ``files`` of
            each.
        """
        from tqdm import tqdm

        target.parent.mkdir(parents=True, exist_ok=True)
        shape = (len(files), self.channels, self.size, self.size)
        images = np.lib.format.open_memmap(target, "w+", np.uint8, shape)
        kept: list[int] = []
        # disable=None: no bar where the output is not a terminal.
        for index, path in enumerate(tqdm(files, desc=f"{root.name}: images", unit="file", disable=None)):
            try:
                images[len(kept)] = self._pixels(path)
            except (OSError, SyntaxError, ValueError) as error:
                reason = str(error).replace(str(path), path.name)
                self.damaged[str(path.relative_to(root))] = reason
            else:
                kept.append(index)
        return images[: len(kept)], np.array(kept, dtype=np.int64)

    def _told(self) -> str:
        """The unusable files in words."""
        named = ", ".join(f"{name} ({reason})" for name, reason in list(self.damaged.items())[:NAMED])
        more = f" and {len(self.damaged) - NAMED} more" if len(self.damaged) > NAMED else ""
        return f"{len(self.damaged)} image file{'s' * (len(self.damaged) > 1)} cannot be used: {named}{more}"

    def finish(self, root: Path, splits: Mapping[str, Split]) -> dict[str, Any]:
        """Log what was converted and what was left out, and return it for the record.

        Args:
            root: folder to name in messages.
            splits: all that was decoded.

        Raises:
            DamagedData: naming the unusable files, unless they are to be left out and some image is left of each split.
        """
        empty = [name for name, split in splits.items() if not len(split.images)]
        if self.damaged and (empty or not self.skip_damaged):
            advice = "" if empty else ", or leave such files out by skip_damaged: true"
            raise DamagedData(f"{root}: {self._told()}; repair or remove them{advice}")
        for kind, count in sorted(self.converted.items()):
            log.info("%s: %d images were %s", root, count, kind)
        if self.damaged:
            log.warning("%s: left out: %s", root, self._told())
        return {"converted": dict(sorted(self.converted.items())), "left_out": self.damaged}

    def _pixels(self, path: Path) -> np.ndarray:
        """The bytes of one file, ``(channels, size, size)``."""
        from PIL import Image

        try:
            with Image.open(path) as opened:
                opened.load()
                image = _upright(opened)
        except Image.DecompressionBombError as error:
            raise ValueError(str(error)) from None
        image = self._plain(image)
        side = self.crop or min(image.size)
        if side < self.size or side > min(image.size):
            wanted = self.crop or self.size
            raise ValueError(f"{image.width} x {image.height} pixels are fewer than {wanted} x {wanted}")
        left, top = (image.width - side) // 2, (image.height - side) // 2
        # Cropped before: the filter's support would reach beyond a mere box.
        centre = image.crop((left, top, left + side, top + side))
        resized = centre.resize((self.size, self.size), Image.Resampling.LANCZOS)
        return np.asarray(resized).reshape(self.size, self.size, self.channels).transpose(2, 0, 1)

    def _plain(self, image: Image) -> Image:
        """``image`` without transparency, in the wanted channels; what had to be changed is counted."""
        from PIL import Image

        wanted = "L" if self.channels == 1 else "RGB"
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"mode {image.mode}: only images of 8 bits per channel can be used")
        if image.has_transparency_data:
            self.converted["transparent, laid on white"] += 1
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        if image.mode != wanted:
            grey = image.mode in ("1", "L")
            if grey != (wanted == "L"):
                self.converted["grey, repeated in three channels" if grey else "in colour, made grey"] += 1
            image = image.convert(wanted)
        return image


def _upright(image: Image) -> Image:
    """``image`` turned as its EXIF data say.

    Raises:
        ValueError: if these are damaged: which side is up is not known then.
    """
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    # Pillow takes EXIF data apart and puts them together again, and lets every error of either through.
    except Exception as error:
        raise ValueError(f"damaged EXIF data ({type(error).__name__}: {error})") from None
