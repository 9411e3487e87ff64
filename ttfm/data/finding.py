"""Where files of data are looked for, how they are checked, and what readers hand over."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from ttfm.data.arrays import Split
from ttfm.options import Range

log = logging.getLogger("ttfm")

ENVIRONMENT = "TTFM_ASSETS"
"""Environment variable that names the folder of data where the experiment's key ``assets`` names none."""
TIMEOUT = 15.0
"""Seconds without an answer after which a download is given up."""

Limit = Annotated[int, Range(1)] | None
"""Option ``limit``: the number of training images to use, the first ones unless a reader says otherwise; None: all."""


class DataUnavailable(ValueError):
    """A data set that is neither here nor to be had."""


class DamagedData(ValueError):
    """A file of data whose content is not what its name promises."""


@dataclass(frozen=True)
class Found:
    """What a reader hands over.

    Attributes:
        splits: "train" and "test".
        classes: number of classes; 0 for a set without.
        notes: what the record is to say: where the images came from, what was converted, what was left out.
        folder: where they were read; None for a set that is part of a package.
    """

    splits: dict[str, Split]
    classes: int = 0
    notes: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None


def places(assets: str | None) -> list[Path]:
    """The folders to look in: the configured one and its subfolder ``data``, then the cache.

    Args:
        assets: the experiment's key ``assets``; None: the environment variable ``TTFM_ASSETS``, if it is set.
    """
    configured = assets or os.environ.get(ENVIRONMENT)
    return [*([Path(configured), Path(configured) / "data"] if configured else []), cache()]


def cache() -> Path:
    """The folder that downloads go to: ``$XDG_CACHE_HOME/ttfm/data``, or ``~/.cache/ttfm/data``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ttfm" / "data"


def first(names: tuple[str, ...], assets: str | None) -> Path | None:
    """The first folder of one of these names in :func:`places`, every name in one place before the next place."""
    found = (place / name for place in places(assets) for name in names)
    return next((path for path in found if path.is_dir()), None)


def download(title: str, name: str, wanted: str, assets: str | None, fetch: Callable[[Path], None]) -> Path:
    """Download a folder into the cache, complete or not at all.

    Args:
        title: what to call the data to a user.
        name: the folder's name.
        wanted: what a user without a network can put where, in words.
        assets: the experiment's key ``assets``.
        fetch: downloads into the folder that it is given, where the folder ``name`` must lie afterwards.

    Raises:
        DataUnavailable: saying where was looked and what to do, if the download fails.
    """
    target = cache() / name
    looked = ", ".join(map(str, places(assets)))
    log.info("%s: not in %s; downloading into %s", title, looked, target.parent)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch, _socket_timeout(TIMEOUT):
            fetch(Path(scratch))
            (Path(scratch) / name).replace(target)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise DataUnavailable(
            f"{title}: not found in {looked}, and the download failed ({error}); put {wanted} into a folder and name "
            f"the folder in the experiment's key assets or in {ENVIRONMENT}"
        ) from error
    return target


def require_digest(path: Path, content: bytes, expected: str, algorithm: Literal["sha256", "md5"] = "sha256") -> None:
    """Check the content of a file of published data.

    Raises:
        DamagedData: naming the file with the expected and the found digest.
    """
    if (found := hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()) != expected:
        raise DamagedData(
            f"{path}: damaged: expected {algorithm} {expected}, found {found}; delete the file or replace it"
        )


def require_pixels(title: str, folder: Path, splits: Mapping[str, Split], expected: Mapping[str, str]) -> None:
    """Check decoded images and labels against those of the published set, whichever format they came in.

    Args:
        title: what to call the data to a user.
        folder: where they were read from.
        splits: what was read.
        expected: by split, the sha256 of the images' bytes followed by one byte per label.

    Raises:
        DamagedData: naming the split with the expected and the found sha256.
    """
    for name, split in splits.items():
        digest = hashlib.sha256(np.ascontiguousarray(split.images).data)
        digest.update(b"" if split.labels is None else split.labels.astype("u1").tobytes())
        if (found := digest.hexdigest()) != expected[name]:
            raise DamagedData(
                f"{folder}: not the {name} images of {title}: expected sha256 {expected[name]} of pixels and labels, "
                f"found {found} of {len(split.images)} images; replace the folder"
            )


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """A default timeout of all sockets, since torchvision's downloaders pass none of their own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
