"""What Python does when a process starts and ends and no step needs: two thirds of a second of every job."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """Import large libraries in this block without the garbage collector.

    It would look over all that they have made so far again and again, and find nothing to free.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def leave() -> None:
    """End the process with status 0 where nothing is left to do; return where a thread still works.

    What was registered with :mod:`atexit` is done and standard output and error are written out. Then the system takes
    the memory back at once, where Python would first free every object of torch's by itself.
    """
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        return
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
