"""Quality against sampling steps: one panel per metric, the headline metric on top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ttfm.reporting.figures.style import (
    MAX_HEIGHT,
    REFERENCE_LINES,
    WIDTH,
    legend,
    legend_height,
    message,
    short,
    step_axis,
    student_marks,
    styled,
    value_axis,
)
from ttfm.reporting.labels import REFERENCES, metric_label, problem_metrics, step_columns
from ttfm.reporting.palette import MUTED
from ttfm.reporting.summary import joined

_DODGE = 0.045


def _half_widths(rows: pd.DataFrame) -> np.ndarray:
    return rows["ci"].fillna(0).to_numpy(dtype=float)


def _span(rows: pd.DataFrame) -> np.ndarray:
    """Means and the ends of their intervals; lower ends below zero are not worth an axis of their own."""
    mean, half = rows["mean"].to_numpy(dtype=float), _half_widths(rows)
    lower = np.where(mean - half > mean / 4, mean - half, mean)
    return np.concatenate([mean, mean + half, lower])


def _references(axes: Axes, rows: pd.DataFrame) -> np.ndarray:
    """Draw the horizontal references; returns their levels."""
    levels = []
    for name in ("data", "teacher"):
        level = rows.loc[(rows["student"] == name) & (rows["n"] > 0), "mean"]
        if len(level):
            axes.axhline(float(level.iloc[0]), zorder=1, **REFERENCE_LINES[name])
            levels.append(float(level.iloc[0]))
    return np.array(levels)


def _by_steps(axes: Axes, rows: pd.DataFrame, experiment: Mapping[str, Any]) -> None:
    styles = student_marks(experiment)
    for i, (name, mark) in enumerate(styles.items()):
        own = rows[(rows["student"] == name) & (rows["n"] > 0)]
        # A small sideways shift, or intervals of equal methods would hide each other.
        x = own["steps"].to_numpy(dtype=float) * 2.0 ** (_DODGE * (i - (len(styles) - 1) / 2))
        axes.errorbar(
            x, own["mean"], yerr=_half_widths(own), color=mark.colour, marker=mark.marker, elinewidth=1.2, capsize=2.5
        )
    euler = rows[(rows["student"] == "teacher_euler") & (rows["n"] > 0)]
    axes.plot(euler["steps"].to_numpy(dtype=float), euler["mean"], zorder=1, **REFERENCE_LINES["teacher_euler"])
    step_axis(axes, experiment["budgets"])


def _by_student(axes: Axes, rows: pd.DataFrame, experiment: Mapping[str, Any]) -> None:
    styles = student_marks(experiment)
    for i, (name, mark) in enumerate(styles.items()):
        own = rows[(rows["student"] == name) & (rows["n"] > 0)]
        axes.errorbar(
            [i] * len(own), own["mean"], yerr=_half_widths(own),
            color=mark.colour, marker=mark.marker, linestyle="none", elinewidth=1.2, capsize=2.5,
        )  # fmt: skip
        if own.empty:
            axes.text(i, 0.04, "n/a", transform=axes.get_xaxis_transform(), ha="center", size=8.5, color=MUTED)
    axes.set_xlim(-0.6, len(styles) - 0.4)
    axes.set_xticks([])
    axes.set_xlabel("students in the legend's order", size=8.5, color=MUTED)
    axes.grid(axis="x", visible=False)


def _title(axes: Axes, metric: str, room: int) -> None:
    """The metric's title, with its unit where ``room`` characters hold both."""
    label = metric_label(metric)
    both = f"{label.title}, {label.unit}" if label.unit else label.title
    axes.set_title(both if len(both) <= room else short(label.title, room))


def _panel(axes: Axes, summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str, metric: str) -> None:
    label = metric_label(metric)
    rows = summary[(summary["problem"] == problem) & (summary["metric"] == metric)]
    trained = rows[~rows["student"].isin(REFERENCES)]
    if not (trained["n"] > 0).any():
        message(axes, f"not measured: {joined(trained['reason']) or 'no student has a value'}")
        return
    levels = _references(axes, rows)
    per_step = step_columns(summary, experiment, problem, metric) != [None]
    (_by_steps if per_step else _by_student)(axes, rows, experiment)
    shown = rows[(rows["n"] > 0) & ~rows["student"].isin(["data", "teacher"])]
    value_axis(axes, _span(shown), levels, signed=label.signed)


@styled
def quality(summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str) -> Figure:
    """Every metric of one problem: means over seeds with 95 % intervals, and the references.

    Metrics that depend on the step budget are drawn against it; the others have one mark per student, in legend order.

    Args:
        summary: from ``summarise``.
        experiment: ``experiment.json``.
        problem: its key in ``experiment["problems"]``.
    """
    metrics = problem_metrics(summary, experiment, problem)
    rows = -(-len(metrics[1:]) // 2)
    height = min(3.2 + 2.05 * rows + legend_height(experiment), MAX_HEIGHT)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    if not metrics:
        message(figure.add_subplot(), "no metric was computed for this problem")
        return figure
    grid = figure.add_gridspec(rows + 1, 2, height_ratios=[1.35, *[1] * rows])
    panels = [figure.add_subplot(grid[0, :])]
    panels += [figure.add_subplot(grid[1 + i // 2, i % 2]) for i in range(len(metrics) - 1)]
    for axes, metric in zip(panels, metrics, strict=True):
        _title(axes, metric, 31)
        _panel(axes, summary, experiment, problem, metric)
    panels[0].set_title(short(f"{experiment['problems'][problem]['title']}: {panels[0].get_title(loc='left')}", 62))
    if panels[0].axison and not panels[0].get_xlabel():
        panels[0].set_xlabel("sampling steps")
    here = summary[(summary["problem"] == problem) & (summary["n"] > 0)]
    legend(figure, experiment, [name for name in REFERENCES if name in set(here["student"])])
    return figure
