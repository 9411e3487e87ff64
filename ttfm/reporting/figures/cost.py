"""Cost against quality: what a training run takes, and what comes out of it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ttfm.reporting.figures.style import (
    MAX_HEIGHT,
    WIDTH,
    Shown,
    legend,
    legend_height,
    message,
    short,
    student_marks,
    styled,
    value_axis,
)
from ttfm.reporting.labels import metric_label, step_columns, steps_title
from ttfm.reporting.palette import BEHIND
from ttfm.reporting.summary import cells


def shown_budgets(budgets: list[int | None]) -> list[int | None]:
    """The budgets a cost figure shows: the smallest, and four steps or else the largest."""
    return list(dict.fromkeys([budgets[0], 4 if 4 in budgets else budgets[-1]]))


def _panel(
    axes: Axes,
    summary: pd.DataFrame,
    costs: pd.DataFrame,
    experiment: Mapping[str, Any],
    problem: str,
    k: int | None,
    shown: Shown,
) -> None:
    metric = experiment["problems"][problem]["headline"]
    found = cells(summary, problem, metric)
    spans: list[float] = []
    right = 0.0
    for name, mark in student_marks(experiment, shown).items():
        row = found.get((name, k))
        cost = costs[(costs["problem"] == problem) & (costs["student"] == name) & costs["seconds"].notna()]
        if row is None or not row["n"] or cost.empty:
            continue
        half = [0.0 if math.isnan(v) else float(v) for v in (cost["seconds_ci"].iloc[0], row["ci"])]
        seconds = float(cost["seconds"].iloc[0])
        if mark is BEHIND:
            axes.plot([seconds], [row["mean"]], color=mark.colour, marker=mark.marker, markersize=8, linestyle="none")
            spans.append(row["mean"])
            right = max(right, seconds)
            continue
        axes.errorbar(
            [seconds], [row["mean"]], xerr=half[:1], yerr=half[1:],
            color=mark.colour, marker=mark.marker, markersize=8, linestyle="none", elinewidth=1.2, capsize=2.5,
        )  # fmt: skip
        lower = row["mean"] - half[1]
        spans += [row["mean"], row["mean"] + half[1], lower if lower > row["mean"] / 4 else row["mean"]]
        right = max(right, seconds + half[0])
    if not spans:
        message(axes, "no student has both a cost and a value here")
        return
    value_axis(axes, np.array(spans), np.array([]), signed=metric_label(metric).signed)
    axes.set_xlim(0, 1.1 * right)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


@styled
def cost(summary: pd.DataFrame, costs: pd.DataFrame, experiment: Mapping[str, Any], shown: Shown = None) -> Figure:
    """Seconds of a training run against the headline metric: a row per problem, the smallest budget and four steps.

    Args:
        summary: from ``summarise``.
        costs: from ``summarise_costs``.
        experiment: ``experiment.json``.
        shown: students in colour, with their intervals; None for all.
    """
    problems = experiment["problems"]
    height = min(0.7 + 2.7 * len(problems) + legend_height(experiment, 0, shown), MAX_HEIGHT)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.subplots(len(problems), 2, squeeze=False)
    for i, (row, (problem, about)) in enumerate(zip(grid, problems.items(), strict=True)):
        budgets = shown_budgets(step_columns(summary, experiment, problem, about["headline"]))
        for axes, k in zip(row, budgets, strict=False):
            _panel(axes, summary, costs, experiment, problem, k, shown)
            axes.set_title(f"{short(about['title'], 20)}, {steps_title(k)}")
            if i == len(problems) - 1:
                axes.set_xlabel("seconds per training run")
        row[0].set_ylabel(textwrap.fill(metric_label(about["headline"]).title, 30))
        for axes in row[len(budgets) :]:
            axes.set_axis_off()
    legend(figure, experiment, [], shown)
    return figure
