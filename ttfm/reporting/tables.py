"""What each table says: captions, rows and cells, once, for every format that it is written in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ttfm.reporting.labels import (
    REFERENCES,
    method_title,
    metric_label,
    sign,
    step_columns,
    steps_list,
    steps_title,
)
from ttfm.reporting.numbers import decimals, listed, number, plural
from ttfm.reporting.summary import cells, joined, summarise

__all__ = ["Cell", "Row", "Table", "headline_table", "metric_table", "summarise"]

ABSENT = "–"
MIXED = "Where higher is better, as in {names}, bold is the highest mean, and an interval that overlaps its is marked."
RULES = (
    "Mean over seeds ± half-width of its 95 % interval (Student's t); in brackets the number of seeds, as 2/3 where "
    "some failed. Lower is better. Bold: the lowest mean among the trained students. †: its interval overlaps that of "
    "the lowest mean, so no ranking between the two is claimed. References are not ranked; a value near or below the "
    "data floor, which is one draw of two sets of real data, cannot be told from real data. With one seed there is no "
    "interval, and bold is no ranking."
)
DESCRIBES = (
    "Mean over seeds ± half-width of its 95 % interval (Student's t); in brackets the number of seeds, as 2/3 where "
    "some failed. This describes the flow: no value is better than another, and nothing is ranked."
)


def rules(*metrics: str) -> str:
    """How to read a table of these metrics."""
    ranked = [metric_label(name) for name in metrics if metric_label(name).ranked]
    if not ranked:
        return DESCRIBES
    turned = list(dict.fromkeys(label.title for label in ranked if sign(label.name) < 0))
    if len(ranked) == len([label for label in ranked if sign(label.name) < 0]):
        return RULES.replace("Lower is better", "Higher is better").replace("the lowest mean", "the highest mean")
    return f"{RULES} {MIXED.format(names=listed(turned))}" if turned else RULES


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: the number, or a word where there is none.
        ci: half-width of the interval, "" where unknown.
        n: number of seeds, "" where there is nothing to count.
        best: the best mean among trained students.
        tie: overlaps the best.
        span: number of columns.
        value: what a sortable table sorts by; None sorts last.
        why: in words, why there is no number.
    """

    text: str
    ci: str = ""
    n: str = ""
    best: bool = False
    tie: bool = False
    span: int = 1
    value: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Row:
    """A row: the student's label (its mark on the page), its title and its cells."""

    student: str
    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table before it has a format.

    Attributes:
        name: file stem.
        title: short title.
        about: what the numbers are.
        rules: how to read a cell; the same for all tables of a kind.
        scored: N, split, extractor, seeds, commit and device.
        stub: heading of the first column.
        header: headings of the other columns.
        groups: headings above ``header`` with the number of columns each spans; empty if there are none.
        body: rows that compete.
        references: rows set apart.
        notes: why cells are empty, one sentence each.
        words: whether cells hold words, which are set flush left.
        apart: heading of the rows set apart, in formats that have one.
    """

    name: str
    title: str
    about: str
    rules: str
    scored: str
    stub: str
    header: tuple[str, ...]
    groups: tuple[tuple[str, int], ...]
    body: tuple[Row, ...]
    references: tuple[Row, ...]
    notes: tuple[str, ...]
    words: bool = False
    apart: str = "References"

    @property
    def caption(self) -> str:
        """Everything a reader needs who sees the table alone."""
        return " ".join(part for part in (self.about, self.rules, self.scored) if part)


def count(row: pd.Series) -> str:
    """The number of seeds behind a mean: "3", or "2/3" where one of three failed."""
    return str(row["n"]) if not row["failed"] else f"{row['n']}/{row['n'] + row['failed']}"


def _cell(row: pd.Series | None, places: int, *, reference: bool, span: int = 1) -> Cell:
    if row is None:
        return Cell(
            ABSENT, span=span, why="not defined for this metric" if reference else "not part of this experiment"
        )
    if row["n"] == 0:
        return Cell("failed" if row["failed"] else ABSENT, span=span, why=row["reason"])
    return Cell(
        text=number(row["mean"], places),
        ci="" if math.isnan(row["ci"]) else number(row["ci"], places, size=row["mean"]),
        # A reference is sampled from one fixed teacher: it has no training seeds to count.
        n="" if reference else count(row),
        best=bool(row["best"]),
        tie=bool(row["tie"]),
        span=span,
        value=row["mean"],
    )


def _cells(
    found: Mapping[tuple[str, int | None], pd.Series], columns: Sequence[int | None], student: str, places: int
) -> list[Cell]:
    reference = student in REFERENCES
    constant = found.get((student, None)) if reference else None
    if constant is not None or student in ("data", "autoencoder", "teacher"):
        return [_cell(constant, places, reference=True, span=len(columns))]
    return [_cell(found.get((student, k)), places, reference=reference) for k in columns]


def _places(summary: pd.DataFrame, problem: str, metric: str) -> int:
    rows = summary[(summary["problem"] == problem) & (summary["metric"] == metric)]
    trained = rows[~rows["student"].isin(REFERENCES)]
    return decimals((trained if (trained["n"] > 0).any() else rows)["mean"])


def gaps(summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str, metric: str) -> list[str]:
    """Why values are missing or rest on fewer seeds, one sentence for all students with the same gap and reason."""
    rows = summary[(summary["problem"] == problem) & (summary["metric"] == metric)]
    rows = rows[(rows["failed"] + rows["skipped"] > 0) & ~rows["student"].isin(REFERENCES)]
    found: dict[tuple[str, str], list[str]] = {}
    for (student, reason, n), group in rows.groupby(["student", "reason", "n"], sort=False):
        steps = [int(k) for k in group["steps"].dropna()]
        where = f" at {steps_list(steps)}" if steps and len(steps) < len(experiment["budgets"]) else ""
        what = f"no value{where}" if n == 0 else f"a mean over fewer seeds{where}"
        found.setdefault((what, str(reason) or "no reason recorded"), []).append(str(student))
    sentences = []
    for (what, reason), students in found.items():
        everyone = len(students) > 1 and len(students) == len(experiment["students"])
        who = "Every student" if everyone else listed(method_title(experiment, name) for name in students)
        verb = "have" if len(students) > 1 and not everyone else "has"
        sentences.append(f"{who} {verb} {what}: {reason}.")
    return sentences


def protocol(summary: pd.DataFrame, problem: str, metric: str) -> str:
    """What was scored: N, split, extractor, number of seeds, commit and device, as the end of a caption."""
    rows = summary[(summary["problem"] == problem) & (summary["metric"] == metric)]
    rows = rows[rows["n"] > 0]
    trained = rows[~rows["student"].isin(REFERENCES)]
    if trained.empty:
        return "No trained student has a value."
    seeds = sorted(set(trained["n"]))
    spread = plural(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    parts = [f"N = {joined(rows['N']) or 'unknown'}"]
    parts += [f"{name} {joined(rows[name])}" for name in ("split", "extractor") if joined(rows[name]) not in ("", "-")]
    parts += [f"n = {spread}", f"commit {joined(c[:12] for c in rows['commit']) or 'unknown'}"]
    parts += [f"device {joined(rows['device']) or 'unknown'}"]
    text = ", ".join(parts) + "."
    if len(trained[["N", "split", "extractor"]].drop_duplicates()) > 1:
        text += " The rows were scored by different protocols and cannot be ranked."
    return text


def metric_table(summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str, metric: str) -> Table:
    """One metric of one problem: students by step budgets, references apart.

    Args:
        summary: from ``summarise``.
        experiment: ``experiment.json``.
        problem: its key in ``experiment["problems"]``.
        metric: its name in ``summary``.
    """
    label = metric_label(metric)
    places = _places(summary, problem, metric)
    here = summary[(summary["problem"] == problem) & (summary["metric"] == metric)]
    references = [name for name in REFERENCES if name in set(here["student"])]
    found, columns = cells(summary, problem, metric), step_columns(summary, experiment, problem, metric)

    def rows(students: Sequence[str]) -> tuple[Row, ...]:
        return tuple(
            Row(name, method_title(experiment, name), tuple(_cells(found, columns, name, places))) for name in students
        )

    return Table(
        name=f"{problem}--{metric}",
        title=f"{experiment['problems'][problem]['title']}: {label.title}",
        about=label.description,
        rules=rules(metric),
        scored=protocol(summary, problem, metric),
        stub="Method",
        header=tuple(steps_title(k) for k in columns),
        groups=(),
        body=rows(list(experiment["students"])),
        references=rows(references),
        notes=tuple(gaps(summary, experiment, problem, metric)),
    )


def headline_table(summary: pd.DataFrame, experiment: Mapping[str, Any]) -> Table:
    """Every method against every problem's headline metric at every step budget.

    Args:
        summary: from ``summarise``.
        experiment: ``experiment.json``.
    """
    problems = {name: about["headline"] for name, about in experiment["problems"].items()}
    columns = {name: step_columns(summary, experiment, name, metric) for name, metric in problems.items()}
    groups = tuple(
        (f"{experiment['problems'][name]['title']}: {metric_label(metric).title}", len(columns[name]))
        for name, metric in problems.items()
    )
    places = {name: _places(summary, name, metric) for name, metric in problems.items()}

    found = {name: cells(summary, name, metric) for name, metric in problems.items()}

    def row(student: str) -> Row:
        parts = [_cells(found[name], columns[name], student, places[name]) for name in problems]
        return Row(student, method_title(experiment, student), tuple(cell for part in parts for cell in part))

    scored = [f"{experiment['problems'][name]['title']}: {protocol(summary, name, m)}" for name, m in problems.items()]
    notes = [
        f"{experiment['problems'][name]['title']}: {sentence}"
        for name, metric in problems.items()
        for sentence in gaps(summary, experiment, name, metric)
    ]
    titles = listed(about["title"] for about in experiment["problems"].values())
    return Table(
        name="headline",
        title=f"Headline metric of every problem: {titles}",
        about="",
        rules=rules(*problems.values()),
        scored=" ".join(scored),
        stub="Method",
        header=tuple(steps_title(k) for name in problems for k in columns[name]),
        groups=groups,
        body=tuple(row(name) for name in experiment["students"]),
        references=tuple(row(name) for name in REFERENCES if name in set(summary["student"])),
        notes=tuple(notes),
    )
