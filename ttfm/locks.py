"""Locks that a killed run leaves behind."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

_held: list[IO[str]] = []


def drop_stale_locks(folder: Path) -> bool:
    """Remove Snakemake's lock files below ``folder`` if no living run can have made them.

    Snakemake marks a working folder as locked by files, which ``kill -9`` leaves behind. The operating system's own
    locks die with their process: every run holds a shared one on ``.snakemake/alive`` until it ends, so whoever can
    get it exclusively is alone, and the files are stale. Runs that are not alone leave them to Snakemake.

    Returns:
        Whether stale files were removed.
    """
    state = folder / ".snakemake"
    state.mkdir(exist_ok=True)
    alive = (state / "alive").open("a", encoding="utf-8")
    # Kept open until the process ends.
    _held.append(alive)
    removed = False
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pass
    else:
        for path in (state / "locks").glob("*"):
            path.unlink(missing_ok=True)
            removed = True
    fcntl.flock(alive, fcntl.LOCK_SH)
    return removed
