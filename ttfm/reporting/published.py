"""Figures that papers print, set beside ours: other budgets, networks and code, and so never ranked with ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ttfm.reporting.labels import method_title, metric_label, steps_title
from ttfm.reporting.numbers import decimals, number
from ttfm.reporting.summary import pick
from ttfm.reporting.tables import ABSENT, Cell, Row, Table, count, protocol

RULES = (
    "Above, what the sources print; below, what this experiment measured. They differ in budget, network, teacher and "
    "code of the metric: nothing is ranked across the line."
)


def published_table(summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str) -> Table | None:
    """Published figures of a problem above our own headline metric; None where the experiment names none.

    Args:
        summary: from ``summarise``.
        experiment: ``experiment.json``; ``published`` of the problem holds ``metric``, ``about`` and ``rows``.
        problem: its key in ``experiment["problems"]``.
    """
    about = experiment["problems"][problem]
    found = about.get("published")
    if not found:
        return None
    ours = about["headline"]
    printed = sorted({int(k) for row in found["rows"] for k in row["values"]})
    columns = sorted({*printed, *experiment["budgets"]})
    body = tuple(Row("", _title(row), tuple(_printed(row["values"], k) for k in columns)) for row in found["rows"])
    means = summary[(summary["problem"] == problem) & (summary["metric"] == ours)]["mean"]
    places = decimals(means) if means.notna().any() else 3
    own = tuple(
        Row(name, method_title(experiment, name), tuple(_own(summary, problem, ours, name, k, places) for k in columns))
        for name in experiment["students"]
    )
    theirs = metric_label(found["metric"]).title
    same = f"Ours: {metric_label(ours).title}"
    if ours != found["metric"]:
        same += f", which is not {theirs}: its size cannot be compared with theirs at all"
    return Table(
        name=f"{problem}--published",
        title=f"{about['title']}: published figures ({theirs})",
        about=found["about"],
        rules=f"{RULES} {same}.",
        scored=protocol(summary, problem, ours),
        stub="Method",
        header=tuple(steps_title(k) for k in columns),
        groups=(),
        body=body,
        references=own,
        notes=tuple(f"{row['method']}: {row['budget']}." for row in found["rows"] if row.get("budget")),
        apart="This experiment",
    )


def _title(row: Mapping[str, Any]) -> str:
    return f"{row['method']} ({row['source']})"


def _printed(values: Mapping[str, float], steps: int) -> Cell:
    # As a key of JSON, a number of steps is text.
    value = values.get(str(steps))
    return Cell(ABSENT, why="not printed by the source") if value is None else Cell(f"{value:g}", value=value)


def _own(summary: pd.DataFrame, problem: str, metric: str, student: str, steps: int, places: int) -> Cell:
    row = pick(summary, problem, metric, student, steps)
    if row is None or row["n"] == 0:
        return Cell(ABSENT, why="not measured here" if row is None else str(row["reason"]))
    return Cell(number(row["mean"], places), n=count(row), value=row["mean"])
