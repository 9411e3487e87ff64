"""What a process costs before it does anything: cold starts of the command line, in turns."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from ttfm.cli import STEPS

ROUNDS = 5


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with what was started and the medians of CPU time and of wall time in seconds."""
    ttfm = ["-m", "ttfm"]
    commands = {"python alone": ["-c", ""], "import torch": ["-c", "import torch"], "ttfm --help": [*ttfm, "--help"]}
    commands |= {f"ttfm {step} --help": [*ttfm, step, "--help"] for step in STEPS}
    commands = {name: command for name, command in commands.items() if only in name}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            found[name].append(timed([sys.executable, *command]))
    return [
        {
            "command": name,
            "CPU seconds": statistics.median(cpu for cpu, _ in times),
            "seconds": statistics.median(wall for _, wall in times),
        }
        for name, times in found.items()
    ]


def timed(command: list[str], **options: Any) -> tuple[float, float]:
    """CPU time and wall time of a command that must succeed, in seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ended - started
