"""How quickly students get good: the headline metric during training, by iterations and by seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ttfm.reporting.convergence import headline_snapshots, smallest_budget, summarise_convergence
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
from ttfm.reporting.labels import metric_label, steps_list
from ttfm.reporting.palette import BEHIND, INK


def _time_axis(axes: Axes, values: np.ndarray) -> None:
    """Logarithmic where what is shown spans more than a factor of eight."""
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size and positive.max() > 8 * positive.min() and positive.size == values.size:
        decades = np.log10(positive.max() / positive.min())
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if decades > 2.5 else (1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 or x == 0 else f"{x:g}"))


def _curves(
    axes: Axes, means: pd.DataFrame, runs: pd.DataFrame, experiment: Mapping[str, Any], shown: Shown, column: str
) -> None:
    """Thin lines for the runs, a thick one for their mean; ``column`` is the mean's abscissa."""
    own_column = {"iteration": "iteration", "seconds": "trained_seconds"}[column]
    for name, mark in student_marks(experiment, shown).items():
        mean = means[means["student"] == name].sort_values("iteration")
        x = mean[column].to_numpy(dtype=float)
        if mark is BEHIND:
            axes.plot(x, mean["mean"], color=mark.colour, linewidth=0.9)
            continue
        for _, run in runs[runs["student"] == name].sort_values("iteration").groupby("seed"):
            axes.plot(run[own_column].to_numpy(dtype=float), run["value"], color=mark.colour, alpha=0.4, linewidth=0.8)
        axes.plot(x, mean["mean"], color=mark.colour, marker=mark.marker, markersize=5)


def _front(axes: Axes, means: pd.DataFrame) -> None:
    """The means that none beats in both, as steps: what the best mean is up to each second."""
    front = means[means["front"].astype(bool)].sort_values("seconds", kind="stable")
    if front.empty:
        return
    x, y = (front[name].to_numpy(dtype=float) for name in ("seconds", "mean"))
    # Until the end of the axis nothing gets better than the last of them.
    x, y = np.append(x, means["seconds"].max()), np.append(y, y[-1])
    axes.plot(x, y, drawstyle="steps-post", color=INK, linewidth=1.3, linestyle=(0, (4, 2)), zorder=1.5)


@styled
def convergence(
    snapshots: pd.DataFrame, experiment: Mapping[str, Any], problem: str, reason: str = "", shown: Shown = None
) -> Figure:
    """The headline metric at the smallest step budget against iterations (top) and seconds of training (bottom).

    Thin lines are seeds, thick ones their mean; the dashed steps below are the front of time and quality.

    Args:
        snapshots: ``snapshots.csv``.
        experiment: ``experiment.json``.
        problem: its key in ``experiment["problems"]``.
        reason: what to say where no score during training exists.
        shown: students in colour, with their seeds; None for all.
    """
    steps, means = smallest_budget(summarise_convergence(snapshots, experiment), problem)
    runs = headline_snapshots(snapshots, experiment)
    runs = runs[runs["problem"] == problem]
    runs = runs[runs["steps"].isna()] if steps is None else runs[runs["steps"] == steps]
    label = metric_label(experiment["problems"][problem]["headline"])
    figure = Figure(figsize=(WIDTH, 6.3 + legend_height(experiment, 0, shown)), layout="constrained")
    top, bottom = figure.subplots(2, 1)
    if means.empty:
        message(top, reason or f"{label.title} was not scored during training", width=60)
        bottom.set_axis_off()
        return figure
    behind = [name for name, mark in student_marks(experiment, shown).items() if mark is BEHIND]
    visible = runs[~runs["student"].isin(behind)]
    for axes, column, own_column in ((top, "iteration", "iteration"), (bottom, "seconds", "trained_seconds")):
        _curves(axes, means, runs, experiment, shown, column)
        values = np.concatenate([visible["value"].to_numpy(dtype=float), means["mean"].to_numpy(dtype=float)])
        value_axis(axes, values, np.array([]), signed=label.signed)
        times = [visible[own_column].to_numpy(dtype=float), means[column].to_numpy(dtype=float)]
        _time_axis(axes, np.concatenate(times))
    _front(bottom, means)
    at = f" at {steps_list([steps])}" if steps is not None else ""
    top.set_title(short(f"{experiment['problems'][problem]['title']}: {label.title}{at}", 62))
    top.set_xlabel("training iterations")
    bottom.set_title("The same by time; dashed: the front")
    bottom.set_xlabel("seconds of training (CPU time on a CPU)")
    legend(figure, experiment, [], shown)
    return figure
