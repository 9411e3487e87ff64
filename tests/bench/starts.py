"""What a process costs before it does anything: cold starts of the command line, in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple

from ttfm.cli import STEPS

ROUNDS = 5


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with what was started and the medians of CPU time and of wall time in seconds."""
    ttfm = ["-m", "ttfm"]
    commands = {"python alone": ["-c", ""], "import torch": ["-c", "import torch"], "ttfm --help": [*ttfm, "--help"]}
    commands |= {f"ttfm {step} --help": [*ttfm, step, "--help"] for step in STEPS}
    commands = {name: command for name, command in commands.items() if only in name}
    found: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            found[name].append(timed([sys.executable, *command]))
    return [
        {
            "command": name,
            "CPU seconds": statistics.median(cost.cpu for cost in times),
            "seconds": statistics.median(cost.wall for cost in times),
        }
        for name, times in found.items()
    ]


class Cost(NamedTuple):
    """What a command took: CPU time and wall time in seconds."""

    cpu: float
    wall: float


def timed(command: list[str], **options: Any) -> Cost:
    """What a command takes that must succeed, with whatever it starts and waits for."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - started)
