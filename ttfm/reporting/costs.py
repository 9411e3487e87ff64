"""What training cost: one line per problem and method, over the runs that succeeded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ttfm.reporting.labels import method_title
from ttfm.reporting.numbers import compact, with_interval
from ttfm.reporting.summary import interval, joined
from ttfm.reporting.tables import ABSENT, Cell, Row, Table

EVALUATIONS = ("forward", "backward", "jvp", "teacher")
RULES = (
    "Means over the runs that succeeded; iterations and seconds include those of what a student starts from, its "
    "teacher apart; seconds of one run with the half-width of the 95 % interval, CPU time on a CPU and wall time on "
    "a GPU, shared out evenly over seeds that were trained at once; peak memory is the largest of the runs. The last "
    "four columns count evaluations of the network per training step: forward passes, backward passes, forward-mode "
    "derivatives (JVP) and evaluations of the teacher."
)
COLUMNS = [
    *("problem", "student", "n", "failed", "iterations", "batch", "seconds", "seconds_ci", "seconds_per_step"),
    *("seconds_per_step_ci", "peak_memory_mb", *EVALUATIONS, "reason", "commit", "device"),
]


def summarise_costs(costs: pd.DataFrame, experiment: Mapping[str, Any]) -> pd.DataFrame:
    """Mean cost of a run per (problem, method) with 95 % intervals over seeds; teachers first, then display order.

    Failed runs stop early and are left out of the means; they are counted in ``failed``. Peak memory is the largest of
    the seeds, because it decides what fits.

    Args:
        costs: ``costs.csv``.
        experiment: ``experiment.json``.

    Returns:
        A table with the columns ``COLUMNS``; numbers are NaN where no run succeeded.
    """
    rows = []
    for problem in experiment["problems"]:
        for student in ("teacher", *experiment["students"]):
            runs = costs[(costs["problem"] == problem) & (costs["student"] == student)].sort_values("seed")
            if runs.empty:
                continue
            ok = runs[runs["status"] == "ok"]
            row: dict[str, Any] = {"problem": problem, "student": student, "n": len(ok), "failed": len(runs) - len(ok)}
            row |= {name: ok[name].mean() for name in ("iterations", "batch", *EVALUATIONS)}
            for name in ("seconds", "seconds_per_step"):
                values = ok[name].dropna().to_numpy(dtype=float)
                row |= {name: values.mean() if len(values) else math.nan, f"{name}_ci": interval(values)}
            row["peak_memory_mb"] = ok["peak_memory_mb"].max()
            row["reason"] = joined(runs.loc[runs["status"] != "ok", "reason"])
            rows.append(row | {name: joined(runs[name]) for name in ("commit", "device")})
    return pd.DataFrame(rows, columns=COLUMNS)


def _count(value: float) -> str:
    """A count per step or per run: whole numbers without decimals."""
    if math.isnan(value):
        return ABSENT
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.2f}".rstrip("0")


def _cell(value: float, text: str, ci: str = "") -> Cell:
    return Cell(ABSENT, why="not recorded") if math.isnan(value) else Cell(text, ci=ci, value=value)


def _row(cost: pd.Series, experiment: Mapping[str, Any]) -> Row:
    title = method_title(experiment, cost["student"]) if cost["student"] != "teacher" else "Teacher"
    runs = f"{cost['n']}/{cost['n'] + cost['failed']}" if cost["failed"] else str(cost["n"])
    cells = [Cell(runs, value=float(cost["n"]))]
    if cost["n"] == 0:
        cells += [Cell("failed", why=cost["reason"])] * (5 + len(EVALUATIONS))
        return Row(cost["student"], title, tuple(cells))
    cells += [_cell(cost[name], _count(cost[name])) for name in ("iterations", "batch")]
    cells.append(_cell(cost["seconds"], *with_interval(cost["seconds"], cost["seconds_ci"])))
    cells.append(_cell(cost["seconds_per_step"], compact(1000 * cost["seconds_per_step"])))
    cells.append(_cell(cost["peak_memory_mb"], compact(cost["peak_memory_mb"])))
    cells += [_cell(cost[name], _count(cost[name])) for name in EVALUATIONS]
    return Row(cost["student"], title, tuple(cells))


def cost_table(costs: pd.DataFrame, experiment: Mapping[str, Any], problem: str) -> Table:
    """The cost of every method on one problem; the teacher stands apart.

    Args:
        costs: from ``summarise_costs``.
        experiment: ``experiment.json``.
        problem: its key in ``experiment["problems"]``.
    """
    here = costs[costs["problem"] == problem]
    rows = [_row(cost, experiment) for _, cost in here.iterrows()]
    devices = joined(here["device"]) or "unknown"
    commits = joined(commit[:12] for commit in here["commit"]) or "unknown"
    return Table(
        name=f"{problem}--cost",
        title=f"{experiment['problems'][problem]['title']}: cost of training",
        about="",
        rules=RULES,
        scored=f"Commit {commits}, device {devices}.",
        stub="Method",
        header=(
            *("runs", "iterations", "batch", "s per run", "ms per step", "peak MB"),
            *("forward", "backward", "JVP", "teacher"),
        ),
        groups=(),
        body=tuple(row for row in rows if row.student != "teacher"),
        references=tuple(row for row in rows if row.student == "teacher"),
        notes=tuple(
            f"{method_title(experiment, cost['student'])}: {cost['failed']} of {cost['n'] + cost['failed']} runs "
            f"failed ({cost['reason'] or 'no reason recorded'})."
            for _, cost in here.iterrows()
            if cost["failed"]
        ),
    )
