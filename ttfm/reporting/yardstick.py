"""Students beside the teacher's own Euler steps, in sentences made from the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ttfm.reporting.labels import (
    REFERENCES,
    method_title,
    metric_label,
    problem_metrics,
    sign,
    step_columns,
    steps_list,
)
from ttfm.reporting.numbers import compact, listed, some
from ttfm.reporting.summary import pick, same_protocol

FEW = 4
"""Students that the largest of several groups names; one that is larger is "the other"."""


def against_euler(summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str) -> list[str]:
    """Whose intervals lie clear of the teacher's k Euler steps, by the headline metric and by LPIPS, a sentence each.

    The teacher is one network, and its Euler value is one number: it has no interval over seeds, and none is made up.
    A student with one seed has none either, and is told apart.

    Args:
        summary: from ``summarise``.
        experiment: ``experiment.json``.
        problem: its key in ``experiment["problems"]``.
    """
    headline = experiment["problems"][problem]["headline"]
    sentences: list[str] = []
    for metric in problem_metrics(summary, experiment, problem):
        if metric != headline and not metric.startswith("lpips-"):
            continue
        budgets = [k for k in step_columns(summary, experiment, problem, metric) if k is not None]
        parts = filter(None, (_at_budget(summary, experiment, problem, metric, k) for k in budgets))
        if text := "; ".join(parts):
            label = metric_label(metric)
            better = "higher" if label.higher else "lower"
            note = "" if sentences else ", which are one value without an interval over seeds"
            sentences.append(f"{label.title} ({better} is better) against the teacher's k Euler steps{note}: {text}.")
    return sentences


def _at_budget(summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str, metric: str, steps: int) -> str:
    """What is said of one step budget; nothing where there is nothing to compare."""
    euler = pick(summary, problem, metric, "teacher_euler", steps)
    rows = summary[
        (summary["problem"] == problem)
        & (summary["metric"] == metric)
        & (summary["steps"] == steps)
        & ~summary["student"].isin(REFERENCES)
        & (summary["n"] > 0)
    ]
    if euler is None or not euler["n"] or rows.empty:
        return ""
    when = f"at {steps_list([steps])} (teacher {compact(euler['mean'])})"
    groups: dict[str, list[str]] = {}
    for _, row in rows.sort_values("mean", kind="stable", key=lambda mean: sign(metric) * mean).iterrows():
        where = _where(row, euler)
        groups.setdefault(where, []).append(method_title(experiment, row["student"]))
    order = ("above", "within", "below") if metric_label(metric).higher else ("below", "within", "above")
    compared: dict[str, list[str]] = {where: groups[where] for where in order if where in groups}
    parts = [_intervals(compared)] if compared else []
    if alone := [f"{some(groups[f'one {side}'])} {side}" for side in ("below", "above") if f"one {side}" in groups]:
        parts.append(f"of one seed, and so without an interval, {listed(alone)} it")
    if other := groups.get("other"):
        parts.append(f"not compared, because scored by another protocol: {some(other)}")
    return f"{when} {', and '.join(parts)}"


def _where(row: pd.Series, euler: pd.Series) -> str:
    """Where a student's interval lies: "below" the teacher's value, "above" it, or it lies "within"."""
    if not same_protocol(pd.DataFrame([row, euler])):
        return "other"
    side = "below" if row["mean"] < euler["mean"] else "above"
    if math.isnan(row["ci"]):
        return f"one {side}"
    return "within" if abs(row["mean"] - euler["mean"]) <= row["ci"] else side


def _intervals(groups: Mapping[str, list[str]]) -> str:
    """The groups in words, the largest last: what the others leave needs no names."""
    parts: list[str] = []
    for where, names in sorted(groups.items(), key=lambda group: len(group[1])):
        one = len(names) == 1
        if len(groups) == 1:
            who = names[0] if one else f"{'both' if len(names) == 2 else f'all {len(names)}'} students"
        else:
            last = len(parts) == len(groups) - 1
            who = f"the other {len(names)}" if last and len(names) > FEW else some(names)
        verb = ("holds it" if one else "hold it") if where == "within" else f"{'lies' if one else 'lie'} {where} it"
        first = "the 95 % interval" if one else "the 95 % intervals"
        parts.append(f"{first if not parts else 'that' if one else 'those'} of {who} {verb}")
    return listed(parts)
