"""Training curves: each student's own loss, and the map error that can be compared between students."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ttfm.reporting.figures.style import (
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
from ttfm.reporting.numbers import some
from ttfm.reporting.palette import BEHIND


def _panel(axes: Axes, curves: pd.DataFrame, experiment: Mapping[str, Any], column: str, shown: Shown) -> None:
    if column not in curves.columns or not np.isfinite(curves[column]).any():
        message(axes, f"no run recorded {column}")
        return
    rows = curves[np.isfinite(curves[column])]
    for name, mark in student_marks(experiment, shown).items():
        own = rows[rows["student"] == name]
        if own.empty:
            continue
        table = own.pivot_table(index="step", columns="seed", values=column)
        # The mean of the seeds that reached the end: over a changing set of seeds it would jump.
        table = table.loc[:, table.iloc[-1].notna()].dropna()
        if mark is BEHIND:
            axes.plot(table.index, table.mean(axis=1), color=mark.colour, linewidth=0.9)
            continue
        sns.lineplot(
            own, x="step", y=column, units="seed", estimator=None, ax=axes, color=mark.colour, alpha=0.4, linewidth=0.8
        )
        every = max(1, len(table) // 8)
        axes.plot(
            table.index,
            table.mean(axis=1),
            color=mark.colour,
            marker=mark.marker,
            markevery=(every // 2, every),
            markersize=5,
        )
    value_axis(axes, rows[column].to_numpy(dtype=float), np.array([]), signed=bool((rows[column] <= 0).any()))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


@styled
def training(
    curves: pd.DataFrame, experiment: Mapping[str, Any], problem: str, reason: str = "", shown: Shown = None
) -> Figure:
    """Loss and map error against the training step; thin lines are seeds, thick ones their mean.

    Args:
        curves: ``curves.csv``.
        experiment: ``experiment.json``.
        problem: its key in ``experiment["problems"]``.
        reason: what to say where there is no curve at all.
        shown: students in colour, with their seeds; None for all.
    """
    here = curves[(curves["problem"] == problem) & curves["student"].isin(list(experiment["students"]))]
    figure = Figure(figsize=(WIDTH, 6.1 + legend_height(experiment, 0, shown)), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=not here.empty)
    if here.empty:
        message(top, reason or "no run left a training curve", width=60)
        bottom.set_axis_off()
    else:
        _panel(bottom, here, experiment, "map_error", shown)
        _panel(top, here, experiment, "loss", shown)
        for axes, title in (
            (top, f"{experiment['problems'][problem]['title']}: training loss, each on its own scale"),
            (bottom, "Map error: distance to the teacher's fine ODE on fixed noise"),
        ):
            axes.set(xlabel="", ylabel="")
            axes.set_title(short(title, 66))
        bottom.set_xlabel("training step")
        absent = [about["title"] for name, about in experiment["students"].items() if name not in set(here["student"])]
        if absent:
            bottom.set_xlabel(f"training step   (no curve: {some(absent, 3)})")
    legend(figure, experiment, [], shown)
    return figure
