"""What share of an experiment's time its jobs do not use: Snakemake's own work, and cores that wait for one another."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from tests.workflow.project import checkout, snakemake
from ttfm.files import read_json
from ttfm.reporting.jobs import AFTER, TRAINING

CORES = 2
FILES = {"teacher": "teacher/record.json", "student": "*/*/record.json"}
"""Records of trainings in a problem's folder."""


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with part, number of jobs, core seconds, and their share of the cores' time from first to last moment.

    The default experiment, from nothing; ``only`` names another. A job's seconds are its process's own, from start to
    end: imports are in them. What the trainings say of themselves, which they are not, is a row of its own.
    """
    name = only or "default"
    with tempfile.TemporaryDirectory() as temporary:
        folder = checkout(Path(temporary) / "project", described=False)
        started = time.perf_counter()
        snakemake(folder, "--configfile", f"workflow/experiments/{name}.yaml", timeout=None)
        whole = CORES * (time.perf_counter() - started)
        results = folder / "results" / name
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
    return [{"experiment": name, "cores": min(CORES, os.cpu_count() or 1)} | row for row in rows]


def _row(part: str, seconds: list[float], whole: float) -> dict[str, Any]:
    return {"part": part, "jobs": len(seconds), "core seconds": sum(seconds), "share": sum(seconds) / whole}
