"""Names as a reader sees them, and the order in which things are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ttfm.evaluation.catalogue import METRICS, Metric
from ttfm.reporting.numbers import listed

REFERENCES = ("data", "autoencoder", "teacher", "teacher_euler")
"""Pseudo-students that stand beside the trained ones and never compete with them."""

REFERENCE_TITLES = {
    "data": "Data floor (data against data)",
    "autoencoder": "Autoencoder (test images, decoded again)",
    "teacher": "Teacher, fine ODE",
    "teacher_euler": "Teacher, k Euler steps",
}


LEARNS = {
    "any_to_any": "the jump between any two times",
    "to_data": "the jump from any time to data",
    "velocity": "the velocity",
    "own": "samples, by a sampler of its own",
}
"""What a student learns, in plain words."""


def metric_label(name: str) -> Metric:
    """The catalogue's words on a metric; one that it does not know (from a plug-in) goes by its own name."""
    return METRICS.get(name) or Metric(name, name, "", "", depends_on_steps=True, kind="both", signed=True)


def sign(metric: str) -> float:
    """What turns a metric's values so that lower is better: 1, or -1 for one whose higher values are better."""
    return -1.0 if metric_label(metric).higher else 1.0


def extreme(metric: str) -> str:
    """The better end of a metric's values, as an adjective: "lowest" or "highest"."""
    return "highest" if metric_label(metric).higher else "lowest"


def metric_order(found: Iterable[str], headline: str) -> list[str]:
    """``found`` without repetition: the headline first, then in the catalogue's order, then unknown ones."""
    names = list(dict.fromkeys(found))
    known = list(METRICS)
    rank = {name: known.index(name) if name in known else len(known) for name in names}
    return sorted(names, key=lambda name: (name != headline, rank[name]))


def problem_metrics(summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str) -> list[str]:
    """The metrics of one problem in display order, its headline metric first."""
    found = summary.loc[summary["problem"] == problem, "metric"]
    return metric_order(found, experiment["problems"][problem]["headline"])


def ranked_metrics(summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str) -> list[str]:
    """Those of :func:`problem_metrics` of which one value is better than another."""
    return [name for name in problem_metrics(summary, experiment, problem) if metric_label(name).ranked]


def method_title(experiment: Mapping[str, Any], student: str) -> str:
    """The title of a student or of a reference row."""
    if student in REFERENCE_TITLES:
        return REFERENCE_TITLES[student]
    return str(experiment["students"].get(student, {}).get("title", student))


def baseline(experiment: Mapping[str, Any]) -> str:
    """The student that differences refer to: the experiment's choice, else the first of loss lfmd, else the first."""
    students: Mapping[str, Any] = experiment["students"]
    lagrangian = [name for name, about in students.items() if about.get("loss") == "lfmd"]
    return str(experiment.get("baseline") or next(iter([*lagrangian, *students])))


def step_columns(summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str, metric: str) -> list[int | None]:
    """The step budgets a metric's table has columns for; ``[None]`` for a metric that does not depend on them."""
    rows = summary[(summary["problem"] == problem) & (summary["metric"] == metric)]
    if rows["steps"].isna().all():
        return [None]
    return list(experiment["budgets"])


def steps_title(steps: int | None) -> str:
    """A column's title: "1 step", "4 steps", or "value"."""
    if steps is None:
        return "value"
    return "1 step" if steps == 1 else f"{steps} steps"


def steps_list(steps: Sequence[int]) -> str:
    """Step budgets in a sentence: "1 step", "2, 4 and 8 steps"."""
    return f"{listed(str(k) for k in steps)} {'step' if list(steps) == [1] else 'steps'}"
