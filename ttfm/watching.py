"""Folders outside the results that results are made of: whether they hold what they held. Imports no torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ttfm.evaluation.weights import ASSETS, present
from ttfm.files import read_json

MOST = 20_000
"""Files of a folder whose sizes and dates are looked at; of those beyond them, which would take seconds, only names."""


def listing(folder: Path) -> str:
    """A digest of what lies in a folder: names of all files, sizes and dates of the first :data:`MOST`."""
    found = hashlib.sha256()
    for index, entry in enumerate(_files(folder)):
        about = os.path.relpath(entry.path, folder)
        if index < MOST:
            # A link that leads nowhere has neither.
            with suppress(OSError):
                stat = entry.stat()
                about += f"\0{stat.st_size}\0{stat.st_mtime_ns}"
        found.update(f"{about}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


def watched(folder: Path) -> dict[str, str]:
    """What a record says of a folder, so that :func:`changed` can tell."""
    return {"folder": str(folder.resolve()), "listing": listing(folder)}


def changed(record: Path) -> str:
    """What now lies in the folder that a record watches, as :func:`listing` has it, if that is another thing.

    Empty if it is the same, if the folder is not there any more, and without a record.
    """
    try:
        about: dict[str, Any] = read_json(record).get("watched") or {}
    except (FileNotFoundError, ValueError):
        return ""
    if not about or not Path(about["folder"]).is_dir():
        return ""
    try:
        now = listing(Path(about["folder"]))
    except OSError:
        # What may not be looked at costs nothing that was made of it.
        return ""
    return "" if now == about["listing"] else now


def appeared(record: Path, network: str, folder: str | None) -> str:
    """The weights of a network, as names and sizes of files, that were not to be had when its record was written.

    Empty if there still are none, and if they were found then: which ones they are is fixed by their sha256.
    """
    try:
        skipped = read_json(record)["status"] == "skipped"
    except (FileNotFoundError, ValueError, KeyError):
        return ""
    found = present(ASSETS[network], folder) if skipped else ()
    return ", ".join(f"{path.name} {path.stat().st_size}" for path, _ in found)


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """All files below a folder, in an order of their own."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(Path(entry.path))
        else:
            yield entry
