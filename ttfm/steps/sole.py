"""One process at a time trains into a folder: what a killed workflow left running gives way to its successor."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

log = logging.getLogger("ttfm")

PACKAGE = __name__.partition(".")[0].encode()
PAUSE = 0.2
"""Seconds between two looks whether the folder is free."""


@contextmanager
def sole(folder: Path) -> Iterator[None]:
    """Be the only process that trains into ``folder``, from entering the context to leaving it.

    Whoever is there already is told to stop, on this machine by SIGTERM, on which a training keeps its state and ends;
    then it is waited for. The lock is the operating system's, on a file beside the folder, and dies with its process.
    On a file system without such locks there is none.
    """
    path, told = folder.with_name(f"{folder.name}.lock"), False
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                told = _tell(file)
            file.close()
            time.sleep(PAUSE)
            continue
        except OSError as error:
            log.debug("%s: no lock (%s)", path, error)
            file.close()
            yield
            return
        if _still(file, path):
            break
        # Its owner has removed it in the meantime.
        file.close()
    with file:
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        file.flush()
        try:
            yield
        finally:
            # Whoever still looks at it must not tell somebody to stop who has this number after this process.
            file.truncate(0)
            path.unlink(missing_ok=True)


def _tell(file: IO[str]) -> bool:
    """Tell the owner of a lock to stop, if that is ours to do; whether it is known yet who it is."""
    file.seek(0)
    try:
        owner = json.loads(file.read())
    except ValueError:
        return False
    if owner["host"] != socket.gethostname():
        log.warning("process %d on %s trains into the same folder; waiting for it", owner["pid"], owner["host"])
        return True
    if not _is_ours(owner["pid"]):
        # It died with its name still there, and somebody else is about to write theirs.
        return False
    log.warning("process %d trains into the same folder; it is told to keep its state and stop", owner["pid"])
    try:
        os.kill(owner["pid"], signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError:
        log.warning("process %d is another user's and cannot be told; waiting for it", owner["pid"])
    return True


def _is_ours(pid: int) -> bool:
    """Whether a process runs this package; on systems that do not say, yes."""
    try:
        # After the interpreter, which may lie in a folder of this name.
        return PACKAGE in Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[2]
    except OSError:
        return not Path("/proc/self/cmdline").exists()


def _still(file: IO[str], path: Path) -> bool:
    """Whether ``path`` is the file that was opened."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
