"""What the workflow's jobs cost the machine, by Snakemake's own samples of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

TRAINING = ("teacher", "student")
"""The steps that train what is compared."""
AFTER = ("collect", "tables", "figures", "page")
"""The steps of the report itself, which are not over when it is written."""


def job_costs(folder: Path, experiment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Time and memory of the jobs by step, the costliest first; empty where the steps ran without Snakemake.

    A job's time is its process's own from start to end. Its CPU time, of which Snakemake (9.27) takes a sample every 30
    seconds only, would leave out what comes after the last one.

    Args:
        folder: ``results/<experiment>``; Snakemake keeps one table a job in its ``benchmarks``.
        experiment: the content of ``experiment.json``. Tables of jobs that it no longer has are left out.

    Returns:
        Dictionaries with ``step``, ``jobs``, their ``seconds``, the ``share`` of these in all, and the largest job's
        ``peak_memory_mb``.
    """
    rows = []
    for path in sorted((folder / "benchmarks").rglob("*.tsv")):
        if path.stem not in AFTER and (path.stem != "student" or _has(experiment, path)):
            # Snakemake writes "-" or "NA" for the memory of a job too short to be sampled.
            job = pd.read_csv(path, sep="\t", na_values=["-", "NA"]).iloc[-1]
            rows.append({"step": path.stem, "seconds": job["s"], "peak_memory_mb": job["max_rss"]})
    if not rows:
        return []
    jobs = pd.DataFrame(rows).astype({"seconds": float, "peak_memory_mb": float})
    costs = jobs.groupby("step").agg(
        jobs=("step", "size"), seconds=("seconds", "sum"), peak_memory_mb=("peak_memory_mb", "max")
    )
    costs["share"] = costs["seconds"] / max(costs["seconds"].sum(), 1e-9)
    found = costs.sort_values("seconds", ascending=False).round(4).reset_index()
    return [{str(key): value for key, value in row.items()} for row in found.to_dict("records")]


def _has(experiment: Mapping[str, Any], path: Path) -> bool:
    """Whether an experiment has the job of a student whose table lies at ``<problem>/<student>/<seed>/student.tsv``.

    Of seeds that train together the first has the table.
    """
    problem, _, seed = path.parts[-4:-1]
    if not (about := experiment["problems"].get(problem)):
        return False
    together = experiment["config"].get("seeds_together", 1) if about["kind"] == "points" else 1
    return seed in map(str, about["seeds"][::together])


def training_share(costs: list[dict[str, Any]]) -> float:
    """The share of the jobs' time that went into jobs that train teachers and students, between 0 and 1."""
    return sum(row["share"] for row in costs if row["step"] in TRAINING)
