"""What a killed run, or a clock that was wrong, leaves behind in a working folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

_held: list[IO[str]] = []
MADE = ("results", "report")
"""Folders of a working folder whose files this package makes."""


def claim(folder: Path, name: str = "alive") -> bool:
    """Claim a working folder, or something in it, until this process ends.

    The operating system's locks die with their process, however it dies: every run holds a shared one, and whoever can
    get it exclusively is alone. On a file system without them nobody is.

    Args:
        folder: the working folder.
        name: of what is claimed: a file in Snakemake's own folder.

    Returns:
        Whether no other living process has claimed it.
    """
    state = folder / ".snakemake"
    state.mkdir(exist_ok=True)
    file = (state / name).open("a", encoding="utf-8")
    # Kept open until the process ends.
    _held.append(file)
    alone = True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        alone = False
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)
    return alone


def tidy(folder: Path) -> None:
    """Remove what would keep the same command from working again; only for whoever is alone in ``folder``.

    Snakemake marks a working folder as locked by files, which ``kill -9`` leaves behind. And it stops at a result that
    is older than what it was made of: files that a clock which was ahead has dated into the future are dated now, all
    of them alike, so that none seems newer than another. What they were made of is known by content, not by date.
    """
    for path in (folder / ".snakemake" / "locks").glob("*"):
        path.unlink(missing_ok=True)
    now = time.time()
    for name in MADE:
        for entry in _files(folder / name):
            if entry.stat(follow_symlinks=False).st_mtime > now + 1:
                with suppress(OSError):
                    os.utime(entry.path, (now, now), follow_symlinks=False)


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """All files below a folder."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield entry
