"""The device that a step computes on; among several GPUs the one with the fewest steps of ours."""

from __future__ import annotations

import ctypes
import fcntl
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TextIO

from ttfm.interpreter import without_collector

KEPT, LARGE = 2**30, 2**28
"""Bytes of freed memory that stay with the process; and the size from which an array goes back at once."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's settings (malloc.h)."""
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What drivers of GPUs leave: NVIDIA's, AMD's, and Windows' for a Linux within it."""
_held: list[TextIO] = []
"""Locks of this process, which are given back when it ends, however it ends."""


def pick_device(wanted: str) -> str:
    """The device for "auto", "cpu" or "cuda", and torch's settings for numbers that come out the same again.

    Among several GPUs, those of ``CUDA_VISIBLE_DEVICES`` where that is set, every process takes the first that no other
    process of this kind has, since Snakemake counts GPUs and does not name them. A rank of torchrun takes the GPU of
    its number among those that :func:`take_gpus` left it.

    Raises:
        ValueError: if a GPU is asked for and there is none, or torchrun started more ranks than there are.
    """
    with without_collector():
        import torch

    # Sums over several threads have no fixed order; a step run by hand gives the workflow's numbers.
    # The variable may list one number per nesting level.
    threads = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    torch.set_num_threads(max(1, int(threads)) if threads.isdigit() else 1)
    keep_freed_memory()
    # Convolutions in full float32 and by algorithms that give the same numbers again, on a GPU as on the CPU.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        raise ValueError("device: 'cuda' was asked for and torch finds no GPU; use 'auto' or 'cpu'")
    rank = os.environ.get("LOCAL_RANK")
    if rank is not None and int(rank) >= torch.cuda.device_count():
        raise ValueError(f"{int(rank) + 1} ranks were asked for and torch finds {torch.cuda.device_count()} GPUs")
    if rank is not None:
        torch.cuda.set_device(int(rank))
    elif (count := torch.cuda.device_count()) > 1:
        torch.cuda.set_device(free_gpu(count))
    return "cuda"


def keep_freed_memory() -> None:
    """Let up to ``KEPT`` bytes of freed memory stay with this process, where its C library is glibc; nothing elsewhere.

    By itself glibc soon gives it back, so that every training step asks for the same pages again and the system clears
    them anew: that took a fifth of the time of a step of the 2-D networks.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    # Either alone ends glibc's own adjustment of both and leaves the other at its small default, which is worse.
    mallopt(_TRIM_THRESHOLD, KEPT)
    mallopt(_MMAP_THRESHOLD, LARGE)


def visible_gpus() -> int:
    """How many NVIDIA GPUs this machine has, or ``CUDA_VISIBLE_DEVICES`` leaves of them; told without torch."""
    try:
        done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    there = sum(line.startswith("GPU ") for line in done.stdout.splitlines()) if done.returncode == 0 else 0
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return there if seen is None else min(there, sum(name.strip() not in ("", "-1") for name in seen.split(",")))


def may_have_gpu() -> bool:
    """Whether a driver of GPUs is at work on this machine; told without torch."""
    return any(Path(name).exists() for name in DRIVERS)


def take_gpus(count: int) -> None:
    """Take ``count`` GPUs for the processes that this one becomes or starts, which then see no others.

    Nothing where torch finds none. The locks are kept through ``exec``.

    Raises:
        ValueError: if there are fewer.
    """
    import torch

    if not (there := torch.cuda.device_count()):
        return
    if count > there:
        raise ValueError(f"{count} ranks were asked for and torch finds {there} GPUs")
    taken: set[int] = set()
    while len(taken) < count:
        taken.add(_take(there, _folder()))
    for lock in _held:
        os.set_inheritable(lock.fileno(), True)
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else [str(index) for index in range(there)]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[index] for index in sorted(taken))


@cache
def free_gpu(count: int, folder: Path | None = None) -> int:
    """Index of the GPU that fewest processes have taken, held until this process ends, which gets the same one again.

    Args:
        count: how many GPUs this process sees.
        folder: where the locks lie; by default in the machine's folder for temporary files, one per user.
    """
    return _take(count, folder or _folder())


def _folder() -> Path:
    """Where the locks lie, nobody else's."""
    root = Path(tempfile.gettempdir()) / f"ttfm-gpus-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    if root.is_symlink() or root.stat().st_uid != os.getuid():
        raise ValueError(f"{root} is another user's; remove it, or name another folder in the variable TMPDIR")
    # Processes that see other GPUs under the same numbers keep clear of these locks.
    return root / os.environ.get("CUDA_VISIBLE_DEVICES", "all").replace(os.sep, "_")


def _take(count: int, folder: Path) -> int:
    """Lock the first free place on a GPU, the first places of all of them before the second ones."""
    folder.mkdir(parents=True, exist_ok=True)
    place = 0
    while True:
        # The first place of every GPU, then the second of every GPU, and so on.
        for gpu in range(count):
            lock = (folder / f"{gpu}-{place}.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            _held.append(lock)
            return gpu
        place += 1
