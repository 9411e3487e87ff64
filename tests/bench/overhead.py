"""What share of an experiment's time its jobs do not use: Snakemake's own work, and cores that wait for one another.

With ``--against COMMIT`` also how long all of it takes beside the same experiment by that commit's code.
"""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from tests.workflow.project import ROOT, checkout, snakemake
from ttfm.files import read_json
from ttfm.reporting.jobs import AFTER, TRAINING

CORES = 2
FILES = {"teacher": "teacher/record.json", "student": "*/*/record.json"}
"""Records of trainings in a problem's folder."""


def measure(device: str, only: str = "", against: str | None = None) -> list[dict[str, Any]]:
    """Rows with part, number of jobs, core seconds, and their share of the cores' time from first to last moment.

    The default experiment, from nothing; ``only`` names another. A job's seconds are its process's own, from start to
    end: imports are in them. What the trainings say of themselves, which they are not, is a row of its own.

    Args:
        device: of no importance: experiments name their own.
        only: the experiment's name.
        against: a commit. Its code runs its own experiment of that name, with this Python and this call's packages,
            between two runs of the code here, so that a machine which slows down or recovers meets both alike. Rows
            say the wall time of each, in the order in which they ran, and the mean of the two over the other.
    """
    name = only or "default"
    with tempfile.TemporaryDirectory() as temporary:
        folder = checkout(Path(temporary) / "here", described=False)
        seconds = wall_seconds(folder, name)
        rows = _shares(folder / "results" / name, CORES * seconds)
        if against:
            there = wall_seconds(archived(against, Path(temporary) / "there"), name)
            again = wall_seconds(checkout(Path(temporary) / "again", described=False), name)
            rows += _compared([seconds, again], there, against)
    return [{"experiment": name, "cores": min(CORES, os.cpu_count() or 1)} | row for row in rows]


def wall_seconds(folder: Path, name: str) -> float:
    """Wall time of an experiment from nothing, in a folder with the project's code."""
    started = time.perf_counter()
    snakemake(folder, "--configfile", f"workflow/experiments/{name}.yaml", timeout=None)
    return time.perf_counter() - started


def archived(commit: str, folder: Path) -> Path:
    """The project as it was at a commit, in a new folder."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        files.extractall(folder, filter="data")
    return folder


def _compared(here: list[float], there: float, commit: str) -> list[dict[str, Any]]:
    ran = {"first, code here": here[0], f"second, code of {commit[:12]}": there, "third, code here": here[1]}
    rows: list[dict[str, Any]] = [
        {"part": f"whole run, {which}", "wall seconds": seconds} for which, seconds in ran.items()
    ]
    ratio = statistics.fmean(here) / there
    return [*rows, {"part": f"code here / code of {commit[:12]}", "ratio of wall seconds": ratio}]


def _shares(results: Path, whole: float) -> list[dict[str, Any]]:
    """The rows of one run, whose cores were there for ``whole`` seconds."""
    jobs: dict[str, list[float]] = {}
    for path in (results / "benchmarks").rglob("*.tsv"):
        jobs.setdefault(path.stem, []).append(float(pd.read_csv(path, sep="\t")["s"].iloc[-1]))
    trained = [read_json(path)["seconds"] or 0.0 for files in FILES.values() for path in results.glob(f"*/{files}")]
    rows: list[dict[str, Any]] = [_row(step, seconds, whole) for step, seconds in sorted(jobs.items())]
    rows.append(_row("all jobs", [second for seconds in jobs.values() for second in seconds], whole))
    rows.append(_row("training, by its own account", trained, whole))
    rest = whole - sum(sum(seconds) for seconds in jobs.values())
    rows.append({"part": "no job", "core seconds": rest, "share": rest / whole})
    # Of jobs that train what is not training, start-ups above all; and the report.
    beside = rest - sum(trained) + sum(sum(jobs.get(step, [])) for step in (*TRAINING, *AFTER))
    rows.append({"part": "neither training nor evaluation", "core seconds": beside, "share": beside / whole})
    return rows


def _row(part: str, seconds: list[float], whole: float) -> dict[str, Any]:
    return {"part": part, "jobs": len(seconds), "core seconds": sum(seconds), "share": sum(seconds) / whole}
