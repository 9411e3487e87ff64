"""The headline metric of several averages of the weights of one training, so that the choice among them can be seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ttfm.reporting.labels import method_title, metric_label, steps_title
from ttfm.reporting.numbers import decimals, number
from ttfm.reporting.summary import interval, joined
from ttfm.reporting.tables import ABSENT, Cell, Row, Table

RULES = (
    "Every row is one average of the same training's weights; the first of each student is the one that all other "
    "tables and figures show. Choosing another by this table is a choice by the metric itself. Mean ± half of a 95 % "
    "interval over seeds."
)


def averages_table(snapshots: pd.DataFrame, experiment: Mapping[str, Any], problem: str) -> Table | None:
    """Averages of the weights (rows) by steps (columns); None where every student has but one.

    Args:
        snapshots: ``snapshots.csv``; rows with an ``average``.
        experiment: ``experiment.json``.
        problem: its key in ``experiment["problems"]``.
    """
    about = experiment["problems"][problem]
    if not about.get("averages"):
        return None
    rows = snapshots[(snapshots["problem"] == problem) & snapshots["average"].notna()]
    rows = rows[rows["metric"] == about["headline"]]
    good = rows[(rows["status"] == "ok") & np.isfinite(rows["value"].to_numpy(dtype=float))]
    places = decimals(good["value"]) if len(good) else 3
    body = []
    for student in experiment["students"]:
        own = rows[rows["student"] == student]
        for average in dict.fromkeys(own["average"]):
            cells = [
                _cell(good[(good["student"] == student) & (good["average"] == average) & (good["steps"] == k)], places)
                for k in experiment["budgets"]
            ]
            body.append(Row(student, f"{method_title(experiment, student)}, {average:g}", tuple(cells)))
    commits = joined(commit[:12] for commit in good["commit"]) or "unknown"
    return Table(
        name=f"{problem}--averages",
        title=f"{about['title']}: averages of the weights",
        about=f"{metric_label(about['headline']).title} by the decay, or relative width, of the average.",
        rules=RULES,
        scored=f"N = {joined(good['N']) or 'unknown'}, commit {commits}, device {joined(good['device']) or 'unknown'}.",
        stub="Student, average",
        header=tuple(steps_title(k) for k in experiment["budgets"]),
        groups=(),
        body=tuple(body),
        references=(),
        notes=(),
    )


def _cell(rows: pd.DataFrame, places: int) -> Cell:
    if rows.empty:
        return Cell(ABSENT, why="no run has a value")
    values = rows["value"].to_numpy(dtype=float)
    ci = interval(values)
    shown = "" if np.isnan(ci) else number(ci, places, size=float(values.mean()))
    return Cell(number(float(values.mean()), places), ci=shown, n=str(len(values)), value=float(values.mean()))
