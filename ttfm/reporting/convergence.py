"""How quickly students get good: scores during training, and which of them nothing beats in both time and quality."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ttfm.reporting.labels import method_title, metric_label, sign, steps_list
from ttfm.reporting.numbers import compact, duration, some
from ttfm.reporting.summary import interval, joined

COLUMNS = [
    *("problem", "metric", "student", "steps", "iteration", "seconds", "seconds_ci", "mean", "ci", "n", "failed"),
    *("front", "commit", "device"),
]
_CURVE = ["problem", "metric", "student", "steps"]


def headline_snapshots(snapshots: pd.DataFrame, experiment: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of the experiment's students on their problem's headline metric that hold a value."""
    headlines = {problem: about["headline"] for problem, about in experiment["problems"].items()}
    rows = snapshots[(snapshots["metric"] == snapshots["problem"].map(headlines)) & (snapshots["status"] == "ok")]
    rows = rows[rows["student"].isin(list(experiment["students"]))]
    return rows[np.isfinite(rows["value"].to_numpy(dtype=float)) & rows["iteration"].notna()]


def front(seconds: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Which points no other point beats: none takes at most as long and is at least as good, and differs.

    Args:
        seconds: shape ``(n,)``; points without a time (NaN) are not on the front.
        values: shape ``(n,)``, lower is better.

    Returns:
        Booleans, shape ``(n,)``; equal points are on it together.
    """
    found = np.zeros(len(values), dtype=bool)
    best, last = math.inf, -1
    for i in np.lexsort((values, seconds)):
        if math.isnan(seconds[i]) or math.isnan(values[i]):
            continue
        if values[i] < best:
            best, last = values[i], i
            found[i] = True
        elif values[i] == best and seconds[i] == seconds[last]:
            found[i] = True
    return found


def summarise_convergence(snapshots: pd.DataFrame, experiment: Mapping[str, Any]) -> pd.DataFrame:
    """Mean of the headline metric and of the seconds of training, per student, budget and iteration.

    Means are over the seeds that reached the student's last iteration: over a changing set of seeds they would jump.
    The others are counted in ``failed``.

    Args:
        snapshots: ``snapshots.csv``.
        experiment: ``experiment.json``.

    Returns:
        A table with the columns ``COLUMNS``, in display order, by iteration; ``front`` marks the means that no other
        mean of the same problem and step budget beats in both seconds and metric.
    """
    found = []
    for (problem, metric, student, steps), rows in headline_snapshots(snapshots, experiment).groupby(
        _CURVE, dropna=False, sort=False
    ):
        reached = set(rows.loc[rows["iteration"] == rows["iteration"].max(), "seed"])
        lost = len(experiment["problems"][problem]["seeds"]) - len(reached)
        for iteration, own in rows[rows["seed"].isin(reached)].groupby("iteration"):
            own = own.sort_values("seed", kind="stable")
            values, seconds = own["value"].to_numpy(dtype=float), own["trained_seconds"].to_numpy(dtype=float)
            found.append({
                "problem": problem, "metric": metric, "student": student, "steps": steps, "iteration": iteration,
                "seconds": seconds.mean(), "seconds_ci": interval(seconds), "mean": values.mean(),
                "ci": interval(values), "n": len(values), "failed": lost, "front": False,
                "commit": joined(own["commit"]), "device": joined(own["device"]),
            })  # fmt: skip
    table = pd.DataFrame(found, columns=COLUMNS).astype({"steps": "Int64", "iteration": "Int64"})
    problems, students = ({name: i for i, name in enumerate(experiment[key])} for key in ("problems", "students"))
    keys = table.assign(problem=table["problem"].map(problems), student=table["student"].map(students))
    table = table.loc[keys.sort_values([*_CURVE, "iteration"], kind="stable").index].reset_index(drop=True)
    for _, rows in table.groupby(["problem", "metric", "steps"], dropna=False):
        turned = sign(rows["metric"].iloc[0])
        on = front(rows["seconds"].to_numpy(dtype=float), turned * rows["mean"].to_numpy(dtype=float))
        table.loc[rows.index, "front"] = on
    return table


def smallest_budget(table: pd.DataFrame, problem: str) -> tuple[int | None, pd.DataFrame]:
    """The smallest step budget that a problem was scored at during training, and its rows."""
    here = table[table["problem"] == problem]
    if here["steps"].isna().all():
        return None, here
    steps = int(here["steps"].min())
    return steps, here[here["steps"] == steps]


def front_members(table: pd.DataFrame, problem: str) -> list[tuple[str, float, float]]:
    """The students on a problem's front at its smallest budget: name, seconds of its first and last point, by time."""
    rows = smallest_budget(table, problem)[1]
    rows = rows[rows["front"].astype(bool)].sort_values("seconds", kind="stable")
    spans = [(name, own["seconds"].min(), own["seconds"].max()) for name, own in rows.groupby("student", sort=False)]
    return [(str(name), float(start), float(end)) for name, start, end in spans]


def front_sentence(table: pd.DataFrame, experiment: Mapping[str, Any], problem: str) -> str:
    """Who is on the front of training time and quality, as a sentence; "" where nothing was scored during training."""
    members = front_members(table, problem)
    if not members:
        return ""
    steps, rows = smallest_budget(table, problem)
    names = []
    for student, start, end in members:
        when = dict.fromkeys(duration(seconds) for seconds in (start, end))
        names.append(f"{method_title(experiment, student)} (at {' to '.join(when)})")
    last = rows[rows["front"].astype(bool)].sort_values("seconds", kind="stable").iloc[-1]
    headline = experiment["problems"][problem]["headline"]
    metric, good = metric_label(headline).title, "high" if sign(headline) < 0 else "low"
    at = f" at {steps_list([steps])}" if steps is not None else ""
    verb = "is" if len(members) == 1 else "are"
    seeds = rows["n"].max()
    caution = " One seed each: this ranks nothing." if seeds < 2 else " These are means: intervals may overlap."
    return (
        f"On the front of training time and {metric}{at} {verb} {some(names)}: no other mean is as {good} in as little "
        f"time. Its last mean is {compact(last['mean'])}.{caution}"
    )
