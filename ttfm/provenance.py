"""Who made an artefact, with what, when and how dear it was."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    *("ttfm", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "POT"),
    *("torch-fidelity", "lpips", "diffusers", "snakemake"),
)

_SOURCES = ("Snakefile", "ttfm", "workflow", "profiles")
"""What decides a result; a change elsewhere, in the README say, leaves a tree clean. New files count as changes."""


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


@cache
def source() -> dict[str, Any]:
    """Commit of the code and whether its sources differ from it; "unknown" outside a git checkout."""
    commit = _git("rev-parse", "HEAD")
    return {
        "commit": commit or "unknown",
        "dirty": bool(_git("status", "--porcelain", "--", *_SOURCES)) if commit else None,
    }


def _uncommitted(path: str) -> bool:
    """Whether git does not hold the content of ``path``; files outside the checkout are held by no commit of it."""
    tracked = _git("ls-files", "--error-unmatch", "--", str(Path(path).resolve()))
    return tracked is None or bool(_git("status", "--porcelain", "--", str(Path(path).resolve())))


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """The current time in UTC, ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def peak_memory_mb(device: str) -> float:
    """Peak memory of this process so far, in MiB: allocated on a GPU, or resident on the host, libraries included."""
    if device.startswith("cuda"):
        import torch

        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


_recorded = 0.0
"""CPU time of this process that a record has already."""


def cpu_seconds() -> float:
    """CPU time of this process since its start or the last record, in seconds: a record's own part of it."""
    global _recorded
    since, _recorded = _recorded, time.process_time()
    return round(_recorded - since, 3)


def device_name(device: str) -> str:
    """A device as a table shows it: "cpu" with the processor's name, or the GPU's name."""
    if device.startswith("cuda"):
        import torch

        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({_processor()})"


@cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def record(config: dict[str, Any], device: str, started: str, files: Iterable[str] = ()) -> dict[str, Any]:
    """The provenance that stands beside every artefact: resolved config, code, versions, device and wall time.

    Args:
        config: the resolved config.
        device: where it was made.
        started: when.
        files: further files of the user's that decide the result; uncommitted changes of theirs count too.
    """
    code = dict(source())
    if code["commit"] != "unknown":
        code["dirty"] = code["dirty"] or any(_uncommitted(path) for path in files)
    return {
        "config": config,
        **code,
        "versions": versions(),
        "device": device_name(device),
        "started": started,
        "finished": now(),
        "cpu_seconds": cpu_seconds(),
        "peak_memory_mb": peak_memory_mb(device),
    }
