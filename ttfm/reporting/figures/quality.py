"""Quality against sampling steps: one panel per metric, the headline metric on top."""

from __future__ import annotations

import textwrap
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
    Shown,
    legend,
    legend_height,
    message,
    short,
    step_axis,
    student_marks,
    styled,
    value_axis,
)
from ttfm.reporting.labels import REFERENCES, metric_label, ranked_metrics, step_columns
from ttfm.reporting.palette import BEHIND, MUTED
from ttfm.reporting.summary import joined

_DODGE = 0.045
ROOM = 31
"""Characters of a title above a panel of half the width."""


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
    for name in ("data", "autoencoder", "teacher"):
        level = rows.loc[(rows["student"] == name) & (rows["n"] > 0), "mean"]
        if len(level):
            axes.axhline(float(level.iloc[0]), zorder=1, **REFERENCE_LINES[name])
            levels.append(float(level.iloc[0]))
    return np.array(levels)


def _by_steps(axes: Axes, rows: pd.DataFrame, experiment: Mapping[str, Any], shown: Shown) -> None:
    styles = student_marks(experiment, shown)
    behind = sum(mark is BEHIND for mark in styles.values())
    for i, (name, mark) in enumerate(styles.items()):
        own = rows[(rows["student"] == name) & (rows["n"] > 0)]
        if mark is BEHIND:
            axes.plot(own["steps"].to_numpy(dtype=float), own["mean"], color=mark.colour, linewidth=0.9, marker=".")
            continue
        # A small sideways shift, or intervals of equal methods would hide each other.
        x = own["steps"].to_numpy(dtype=float) * 2.0 ** (_DODGE * (i - behind - (len(styles) - behind - 1) / 2))
        axes.errorbar(
            x, own["mean"], yerr=_half_widths(own), color=mark.colour, marker=mark.marker, elinewidth=1.2, capsize=2.5
        )
    euler = rows[(rows["student"] == "teacher_euler") & (rows["n"] > 0)]
    axes.plot(euler["steps"].to_numpy(dtype=float), euler["mean"], zorder=1, **REFERENCE_LINES["teacher_euler"])
    step_axis(axes, experiment["budgets"])


def _by_student(axes: Axes, rows: pd.DataFrame, experiment: Mapping[str, Any], shown: Shown) -> None:
    styles = student_marks(experiment, shown)
    front = {name: mark for name, mark in styles.items() if mark is not BEHIND}
    behind = rows[rows["student"].isin(set(styles) - set(front)) & (rows["n"] > 0)]
    if len(front) < len(styles):
        # One place for all in the background, the legend's last; spread so that they do not hide each other.
        spread = len(front) + np.linspace(-0.25, 0.25, max(len(behind), 2))[: len(behind)]
        axes.plot(spread, behind["mean"], color=BEHIND.colour, marker=BEHIND.marker, linestyle="none")
    for i, (name, mark) in enumerate(front.items()):
        own = rows[(rows["student"] == name) & (rows["n"] > 0)]
        axes.errorbar(
            [i] * len(own), own["mean"], yerr=_half_widths(own),
            color=mark.colour, marker=mark.marker, linestyle="none", elinewidth=1.2, capsize=2.5,
        )  # fmt: skip
        if own.empty:
            axes.text(i, 0.04, "n/a", transform=axes.get_xaxis_transform(), ha="center", size=8.5, color=MUTED)
    axes.set_xlim(-0.6, len(front) - 0.4 + (len(front) < len(styles)))
    axes.set_xticks([])
    axes.set_xlabel("students in the legend's order", size=8.5, color=MUTED)
    axes.grid(axis="x", visible=False)


def metric_title(metric: str, room: int) -> str:
    """The metric's title on at most two lines of ``room`` characters, with its unit where one line holds both.

    A title that is too long is broken before its brackets: what stands in them tells one network from another.
    """
    label = metric_label(metric)
    # Every other panel is read downwards.
    note = " (higher is better)" if label.higher else ""
    for words in (f"{label.title}, {label.unit}{note}" if label.unit else "", f"{label.title}{note}"):
        if words and len(words) <= room:
            return words
    head, bracket, rest = f"{label.title}{note}".rpartition(" (")
    lines = [head, f"({rest}"] if bracket else [rest]
    if max(map(len, lines)) > room:
        lines = textwrap.wrap(f"{label.title}{note}", room, max_lines=2, placeholder="…")
    return "\n".join(lines)


def _panel(
    axes: Axes, summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str, metric: str, shown: Shown
) -> None:
    label = metric_label(metric)
    rows = summary[(summary["problem"] == problem) & (summary["metric"] == metric)]
    trained = rows[~rows["student"].isin(REFERENCES)]
    if not (trained["n"] > 0).any():
        message(axes, f"not measured: {joined(trained['reason']) or 'no student has a value'}")
        return
    levels = _references(axes, rows)
    per_step = step_columns(summary, experiment, problem, metric) != [None]
    (_by_steps if per_step else _by_student)(axes, rows, experiment, shown)
    drawn = rows[(rows["n"] > 0) & ~rows["student"].isin(["data", "autoencoder", "teacher"])]
    behind = [name for name, mark in student_marks(experiment, shown).items() if mark is BEHIND]
    # Students in the background are drawn without their intervals.
    spans = [_span(drawn[~drawn["student"].isin(behind)]), drawn["mean"].to_numpy(dtype=float)]
    value_axis(axes, np.concatenate(spans), levels, signed=label.signed)


@styled
def frechet_lpips(
    summary: pd.DataFrame,
    experiment: Mapping[str, Any],
    problem: str,
    metrics: tuple[str, str],
    shown: Shown = None,
) -> Figure:
    """Two metrics side by side against sampling steps, large enough to tell students apart.

    Args:
        summary: from ``summarise``.
        experiment: ``experiment.json``.
        problem: its key in ``experiment["problems"]``.
        metrics: a Fréchet distance and an LPIPS; see ``names.frechet_and_lpips``.
        shown: students in colour, with their intervals; None for all.
    """
    figure = Figure(figsize=(WIDTH, 3.6 + legend_height(experiment, shown=shown)), layout="constrained")
    panels = figure.subplots(1, 2)
    titles = [metric_title(metric, ROOM) for metric in metrics]
    titles[0] = f"{short(experiment['problems'][problem]['title'], ROOM - 1)}:\n{titles[0]}"
    lines = max(title.count("\n") for title in titles)
    for axes, metric, title in zip(panels, metrics, titles, strict=True):
        # As many lines for both: the panels stay level.
        axes.set_title("\n" * (lines - title.count("\n")) + title)
        _panel(axes, summary, experiment, problem, metric, shown)
        axes.set_xlabel("sampling steps" if axes.axison else "")
    here = summary[(summary["problem"] == problem) & summary["metric"].isin(metrics) & (summary["n"] > 0)]
    legend(figure, experiment, [name for name in REFERENCES if name in set(here["student"])], shown)
    return figure


@styled
def quality(summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str, shown: Shown = None) -> Figure:
    """Every ranked metric of one problem: means over seeds with 95 % intervals, and the references.

    Descriptions of the flow, of which no value is better than another, are in the tables alone. Metrics that depend
    on the step budget are drawn against it; the others have one mark per student, in legend order.

    Args:
        summary: from ``summarise``.
        experiment: ``experiment.json``.
        problem: its key in ``experiment["problems"]``.
        shown: students in colour, with their intervals; None for all.
    """
    metrics = ranked_metrics(summary, experiment, problem)
    rows = -(-len(metrics[1:]) // 2)
    height = min(3.2 + 2.05 * rows + legend_height(experiment, shown=shown), MAX_HEIGHT)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    if not metrics:
        message(figure.add_subplot(), "no metric was computed for this problem")
        return figure
    grid = figure.add_gridspec(rows + 1, 2, height_ratios=[1.35, *[1] * rows])
    panels = [figure.add_subplot(grid[0, :])]
    panels += [figure.add_subplot(grid[1 + i // 2, i % 2]) for i in range(len(metrics) - 1)]
    for axes, metric in zip(panels, metrics, strict=True):
        axes.set_title(metric_title(metric, ROOM))
        _panel(axes, summary, experiment, problem, metric, shown)
    where = f"{experiment['problems'][problem]['title']}: "
    first = where + metric_title(metrics[0], max(ROOM, 2 * ROOM - len(where)))
    panels[0].set_title("\n".join(textwrap.wrap(first, 2 * ROOM, max_lines=2, placeholder="…")))
    if panels[0].axison and not panels[0].get_xlabel():
        panels[0].set_xlabel("sampling steps")
    here = summary[(summary["problem"] == problem) & (summary["n"] > 0)]
    legend(figure, experiment, [name for name in REFERENCES if name in set(here["student"])], shown)
    return figure
