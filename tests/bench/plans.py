"""How long Snakemake takes to plan experiments of 10 to 10,000 runs, and how many files such a plan is."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.starts import timed
from tests.workflow.project import POINTS, checkout, surroundings, write

SIZES = {10: (1, 5, 2), 100: (2, 10, 5), 1_000: (5, 20, 10), 10_000: (5, 40, 50)}
"""Problems, students and seeds by the number of runs."""


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with runs, seconds of a first and of a second dry run, what else the second took, and files of the plan.

    Every size is planned twice: with a job for every training, and with one for all seeds of a student.
    """
    with tempfile.TemporaryDirectory() as temporary:
        return [
            _of(runs, together, Path(temporary) / f"{runs}-{together}", *sizes)
            for runs, sizes in SIZES.items()
            for together in (1, sizes[-1])
            if only in ("", str(runs))
        ]


def _of(runs: int, together: int, folder: Path, problems: int, students: int, seeds: int) -> dict[str, Any]:
    checkout(folder, described=False)
    ring = POINTS["problems"]["ring"]
    # Students that differ in an option, as those of an ablation do.
    named = {f"itvm-{i}": {"loss": "itvm", "options": {"mu": i / students}} for i in range(students)}
    config = POINTS | {
        "name": "plan",
        "seeds": list(range(seeds)),
        "seeds_together": together,
        "students": named,
        "problems": {f"ring{i}": ring for i in range(problems)},
    }
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--dry-run", "--quiet", "all"]
    command += write(folder, config)
    times = [timed(command, cwd=folder, env=surroundings(folder)) for _ in range(2)]
    plan = [path for path in (folder / "results" / "plan").rglob("*") if path.is_file()]
    return {
        "runs": runs,
        "jobs that train": runs // together + problems,
        "first plan, seconds": times[0].wall,
        "second plan, seconds": times[1].wall,
        "second plan, CPU seconds": times[1].cpu,
        "files of the plan": len(plan),
    }
