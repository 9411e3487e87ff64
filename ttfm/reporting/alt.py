"""Captions and alternative texts of figures, made from the numbers that they show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ttfm.reporting.labels import REFERENCES, method_title, metric_label, problem_metrics, step_columns, steps_list
from ttfm.reporting.numbers import compact, listed

_CAPTIONS = {
    "quality": "Quality against sampling steps; lower is better. Marks are means over seeds, bars their 95 % "
    "intervals; horizontal lines are the data floor and the teacher's finely solved ODE, the dashed line is the "
    "teacher with as many Euler steps. Axes of steps and values are logarithmic, with a linear part around zero for "
    "estimates that can be negative. Marks are shifted sideways so that bars stay apart.",
    "training": "Training curves. Thin lines are seeds, thick lines their mean. The losses are different quantities "
    "and say little about each other; the map error is the same for all.",
    "samples": "Samples (colour) over real data (grey), by method and number of sampling steps, from the first seed "
    "that succeeded.",
    "trajectories": "States of each student's sampler (colour, dots) over the teacher's finely solved paths (grey) "
    "from the same noise (hollow circles), from the first seed that succeeded.",
    "grid": "Images by method and number of sampling steps, from the first seed that succeeded. Each column starts "
    "from the same noise, so the teacher's finely solved ODE on top is what a perfect student would show.",
    "cost": "What a training run takes against what comes out of it; the best corner is at the bottom left. Bars are "
    "95 % intervals over seeds.",
}


def caption(stem: str) -> str:
    """The caption of the figure ``stem``."""
    return _CAPTIONS[stem.split("--")[-1]]


def _range(summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str, steps: int | None) -> str:
    """Extremes of the headline metric: "at 1 step means run from 0.1 (ITVM) to 0.2 (LFMD)", "" without values."""
    metric = experiment["problems"][problem]["headline"]
    rows = summary[(summary["problem"] == problem) & (summary["metric"] == metric) & (summary["n"] > 0)]
    rows = rows[rows["steps"].isna()] if steps is None else rows[rows["steps"] == steps]
    rows = rows[~rows["student"].isin(REFERENCES)].sort_values("mean", kind="stable")
    if rows.empty:
        return ""
    ends = [f"{compact(row['mean'])} ({method_title(experiment, row['student'])})" for _, row in rows.iterrows()]
    when = f"at {steps_list([steps])} " if steps is not None else ""
    return f"{when}means run from {ends[0]} to {ends[-1]}" if len(ends) > 1 else f"{when}the only mean is {ends[0]}"


def alternative(stem: str, summary: pd.DataFrame, experiment: Mapping[str, Any]) -> str:
    """What the figure ``stem`` shows, for a reader who does not see it.

    Args:
        stem: one of ``figure_names``.
        summary: from ``summarise``.
        experiment: ``experiment.json``.
    """
    methods = listed(about["title"] for about in experiment["students"].values())
    if stem == "cost":
        titles = listed(about["title"] for about in experiment["problems"].values())
        return (
            f"Scatter plots for {titles}: seconds of a training run against the headline metric, one mark for each of "
            f"{methods}. The numbers are in the tables of cost and quality."
        )
    problem, _, family = stem.rpartition("--")
    about = experiment["problems"][problem]
    if family == "quality":
        metrics = [metric_label(name).title for name in problem_metrics(summary, experiment, problem)]
        budgets = step_columns(summary, experiment, problem, about["headline"])
        ends = [_range(summary, experiment, problem, k) for k in dict.fromkeys([budgets[0], budgets[-1]])]
        found = "; ".join(end for end in ends if end)
        return (
            f"Charts of {listed(metrics)} against sampling steps on {about['title']}, a line for each of {methods}. "
            f"{metric_label(about['headline']).title}: {found or 'no student has a value'}."
        )
    steps = steps_list(experiment["budgets"])
    return {
        "training": f"Loss and map error against the training step on {about['title']}, for each of {methods}.",
        "samples": f"Grid of scatter plots on {about['title']}: samples of the teacher's Euler steps and of {methods} "
        f"in rows, {steps} in columns, over real data.",
        "trajectories": f"Paths from noise to data on {about['title']}: one panel each for {methods}, drawn over the "
        "teacher's paths.",
        "grid": f"Generated images on {about['title']} at {steps}: rows are the teacher's fine ODE, its Euler steps, "
        f"and {methods}; columns share their noise.",
    }[family]
