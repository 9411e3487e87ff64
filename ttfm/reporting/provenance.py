"""Where the numbers come from, what failed, and what was left out."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from ttfm.reporting.inputs import Results, made_records
from ttfm.reporting.jobs import job_costs, training_share
from ttfm.reporting.labels import REFERENCES, method_title, metric_label, steps_list
from ttfm.reporting.numbers import listed
from ttfm.reporting.summary import joined


def _wall_seconds(records: list[dict[str, Any]]) -> float | None:
    """From the first start to the last end of the runs that recorded both."""
    ends = [(r["started"], r["finished"]) for r in records if r.get("started") and r.get("finished")]
    if not ends:
        return None
    starts = [datetime.fromisoformat(start) for start, _ in ends]
    return (max(datetime.fromisoformat(end) for _, end in ends) - min(starts)).total_seconds()


def provenance(data: Results) -> dict[str, Any]:
    """Commit, package versions, devices, seeds and times, collected from the runs' records.

    Args:
        data: the experiment's files.

    Returns:
        ``commits`` (list), ``dirty`` (bool: any run from a changed working tree), ``devices`` (list), ``versions``
        (name to text), ``seeds`` (problem title to text), ``runs`` (int), ``seconds`` (float, sum over runs),
        ``wall_seconds`` (float or None), ``jobs`` (from ``job_costs``), ``training_share`` (of their time, float),
        ``steps_share`` (of training steps by their own account, without start-ups, in the CPU time of all processes, or
        in the jobs' time where a GPU trained; float, or None where it cannot be told), ``clock`` (that time's name),
        ``commands`` (list of shell lines), ``config`` (the experiment's).
    """
    records = list(data.records.values())
    versions: dict[str, list[str]] = {}
    for record in records:
        for name, version in record.get("versions", {}).items():
            versions.setdefault(name, []).append(str(version))
    made = made_records(data.folder)
    commits = list(dict.fromkeys(str(r["commit"]) for r in made if r.get("commit")))
    source = data.experiment.get("source", "")
    commands = [f"git checkout {commits[0]}"] if len(commits) == 1 else []
    commands += [f"make report EXPERIMENT={shlex.quote(source)}"]
    jobs = job_costs(data.folder, data.experiment)
    trained = math.fsum(float(r.get("seconds") or 0) for r in records)
    return {
        "commits": commits,
        "dirty": any(r.get("dirty") for r in made),
        "devices": list(dict.fromkeys(str(r["device"]) for r in made if r.get("device"))),
        "versions": {name: joined(found) for name, found in sorted(versions.items())},
        "seeds": {about["title"]: listed(map(str, about["seeds"])) for about in data.experiment["problems"].values()},
        "runs": len(records),
        "seconds": trained,
        "wall_seconds": _wall_seconds(made),
        "jobs": jobs,
        "training_share": training_share(jobs),
        "steps_share": _steps_share(trained, records, data.folder, jobs),
        "clock": "CPU time" if _on_cpu(records) else "time",
        "commands": data.experiment.get("commands", commands),
        "config": data.experiment.get("config", {}),
    }


def _on_cpu(runs: list[dict[str, Any]]) -> bool:
    return all(str(run.get("device", "")).startswith("cpu") for run in runs)


def _steps_share(trained: float, runs: list[dict[str, Any]], folder: Path, jobs: list[dict[str, Any]]) -> float | None:
    """The share of training steps in what all steps before the page took: CPU time, or wall time where a GPU trained.

    None where it cannot be told: the processes of a training that was interrupted before are gone with their times.
    """
    if any(run.get("resumed") for run in runs):
        return None
    if _on_cpu(runs):
        everything = math.fsum(record.get("cpu_seconds", math.nan) for record in made_records(folder, without=()))
    else:
        everything = math.fsum(job["seconds"] for job in jobs)
    return trained / everything if everything > 0 else None


def failures(metrics: pd.DataFrame, costs: pd.DataFrame, experiment: Mapping[str, Any]) -> list[dict[str, str]]:
    """One entry per training run that failed, and per evaluation that failed although training had succeeded.

    Returns:
        Dictionaries with ``problem``, ``method``, ``seed``, ``what`` ("training" or the metrics' titles), ``reason``.
    """
    entries = []
    trained = costs[costs["status"] == "failed"]
    for _, run in trained.iterrows():
        entries.append((run["problem"], run["student"], run["seed"], "training", run["reason"]))
    known = {(problem, student, str(seed)) for problem, student, seed, _, _ in entries}
    failed = metrics[metrics["status"] == "failed"]
    for (problem, student, seed, reason), rows in failed.groupby(
        ["problem", "student", "seed", "reason"], sort=False, dropna=False
    ):
        if (problem, student, str(seed)) not in known:
            what = listed(metric_label(name).title for name in dict.fromkeys(rows["metric"]))
            entries.append((problem, student, seed, what, reason))
    return [
        {
            "problem": experiment["problems"].get(problem, {}).get("title", problem),
            "method": "Teacher" if student == "teacher" else method_title(experiment, student),
            "seed": "" if pd.isna(seed) else str(seed),
            "what": what,
            "reason": reason or "no reason recorded",
        }
        for problem, student, seed, what, reason in entries
    ]


def skipped_notes(metrics: pd.DataFrame, experiment: Mapping[str, Any]) -> list[str]:
    """A plain sentence for everything that was not measured on purpose, with the reason; whole metrics first."""
    notes: dict[str, int] = {}
    skipped = metrics[(metrics["status"] == "skipped") & ~metrics["student"].isin(REFERENCES)]
    for (problem, reason), rows in skipped.groupby(["problem", "reason"], sort=False):
        title = experiment["problems"].get(problem, {}).get("title", problem)
        whole: list[str] = []
        part: list[str] = []
        for metric in dict.fromkeys(rows["metric"]):
            everything = metrics[(metrics["problem"] == problem) & (metrics["metric"] == metric)]
            everything = everything[~everything["student"].isin(REFERENCES)]
            (whole if everything["status"].isin(["skipped", "failed"]).all() else part).append(metric)
        if whole:
            names = listed(metric_label(metric).title for metric in whole)
            notes[f"{title}: {names} left out – {reason or 'no reason recorded'}."] = 0
        if part:
            some = rows[rows["metric"].isin(part)]
            students = [method_title(experiment, name) for name in dict.fromkeys(some["student"])]
            verb = "has" if len(students) == 1 else "have"
            cells = []
            for metric, own in some.groupby("metric", sort=False):
                steps = sorted({int(k) for k in own["steps"].dropna()})
                partial = steps and len(steps) < len(experiment["budgets"])
                cells.append(metric_label(str(metric)).title + (f" at {steps_list(steps)}" if partial else ""))
            notes[f"{title}: {listed(students)} {verb} no {listed(cells)} – {reason or 'no reason recorded'}."] = 1
    return sorted(notes, key=lambda note: notes[note])
