"""What a process costs before it does anything: cold starts of the command line and imports of steps, in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple

from ttfm.cli import STEPS

ROUNDS = 5
NETWORKS = "safetensors.torch, ttfm.registry, ttfm.seeds"
LEARNED = f"{NETWORKS}, ttfm.evaluation.sampling, ttfm.evaluation.diagnostics, ttfm.evaluation.defects"
IMPORTS = {
    "training": f"{NETWORKS}, ttfm.steps.student, ttfm.evaluation.paired, ttfm.training.together, tqdm",
    "evaluation of points": f"{LEARNED}, ttfm.steps.evaluate, ttfm.evaluation.scoring",
    "samples of images": f"{LEARNED}, ttfm.steps.sample, ttfm.evaluation.sample_sets",
    "features of images": "ttfm.steps.features, ttfm.evaluation.features, ttfm.evaluation.sample_sets",
    "scores of images": "ttfm.steps.score, ttfm.evaluation.image_scoring, lpips",
    "tables": "ttfm.steps.tables, ttfm.reporting.build",
    "figures": "ttfm.steps.figures, ttfm.reporting.build, ttfm.reporting.figures",
    "page": "ttfm.steps.report, ttfm.reporting.page",
}
"""What a step imports when its work begins, beside torch; a report's needs none."""
REPORT = ("tables", "figures", "page")


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with what was started and the medians of CPU time and of wall time in seconds.

    ``--help`` imports what a step's arguments need, which is little. What its work needs is imported when that begins:
    rows "imports" have all of it, from the start of the process to an end as a step's.
    """
    ttfm = ["-m", "ttfm"]
    commands = {"python alone": ["-c", ""], "import torch": ["-c", "import torch"], "ttfm --help": [*ttfm, "--help"]}
    commands |= {f"ttfm {step} --help": [*ttfm, step, "--help"] for step in STEPS}
    commands |= {f"imports: {name}": ["-c", _begun(name)] for name in IMPORTS}
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


def _begun(name: str) -> str:
    """A program that begins and ends as a step does, without its work."""
    lines = ["import ttfm.cli", f"import {IMPORTS[name]}", "from ttfm.interpreter import leave", "leave()"]
    if name not in REPORT:
        lines.insert(1, "from ttfm.devices import pick_device\npick_device('cpu')")
    if NETWORKS in IMPORTS[name]:
        lines.insert(-2, "from ttfm.losses import load_modules\nload_modules()")
    return "\n".join(lines)


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
