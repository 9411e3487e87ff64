"""Where a flow map is wrong: its semigroup and its tangent defect over pairs of times."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

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
from ttfm.reporting.labels import method_title
from ttfm.reporting.palette import BEHIND, MUTED

_COLUMNS = 4
_COLOURS = "viridis_r"
"""Light where the defect is small; even steps for the eye, and told apart without colour."""
_DECADES = 4
"""The colour scale reaches at most this many decades below the largest defect."""


def _edges(centres: np.ndarray) -> np.ndarray:
    """Borders between sorted cell centres, ``(n,)`` to ``(n + 1,)``."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _map(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds by t (rows) and s (columns)."""
    return rows.pivot_table(index="t", columns="s", values="value", aggfunc="mean").sort_index()


def _heat(axes: Axes, table: pd.DataFrame, times: tuple[float, float], norm: LogNorm) -> None:
    s, t = (_edges(axis.to_numpy(dtype=float)) for axis in (table.columns, table.index))
    values = np.ma.masked_invalid(np.clip(table.to_numpy(dtype=float), norm.vmin, None))
    axes.pcolormesh(s, t, values, norm=norm, cmap=_COLOURS, rasterized=True)
    axes.plot(times, times, color=MUTED, linewidth=0.8)
    axes.set(xlim=times, ylim=times)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.tick_params(labelsize=7.5)
    # Nothing is drawn below the diagonal, where t would come before s.
    axes.spines[["right", "bottom", "left"]].set_visible(False)


def _tangents(axes: Axes, rows: pd.DataFrame, experiment: Mapping[str, Any], shown: Shown) -> None:
    if rows.empty:
        message(axes, "no tangent defect was measured")
        return
    for name, mark in student_marks(experiment, shown).items():
        mean = rows[rows["student"] == name].groupby("s")["value"].mean()
        if mean.empty:
            continue
        if mark is BEHIND:
            axes.plot(mean.index, mean, color=mark.colour, linewidth=0.9)
        else:
            axes.plot(mean.index, mean, color=mark.colour, marker=mark.marker, markersize=5)
    value_axis(axes, rows.groupby(["student", "s"])["value"].mean().to_numpy(dtype=float), np.array([]), signed=False)
    axes.set_xlabel("time s = t")


def _block(figure: SubFigure, what: str, found: pd.DataFrame, titles: Mapping[str, str], rows: int) -> None:
    """One map for each student, ``titles`` by name, and the colours' scale that they share."""
    means = {name: _map(found[found["student"] == name]) for name in titles}
    values = np.concatenate([table.to_numpy(dtype=float).ravel() for table in means.values()])
    largest = float(np.nanmax(values))
    positive = values[np.isfinite(values) & (values > 0)]
    low = max(float(positive.min()), largest / 10**_DECADES) if positive.size else 1e-3
    high = largest if largest > low else 10 * low
    norm = LogNorm(low, high)
    ends = np.concatenate([_edges(np.sort(found[name].unique())) for name in ("s", "t")])
    times = (max(0.0, float(ends.min())), min(1.0, float(ends.max())))
    grid = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True, sharey=True)
    for axes in grid.ravel()[len(titles) :]:
        axes.set_axis_off()
    for i, ((name, title), axes) in enumerate(zip(titles.items(), grid.ravel(), strict=False)):
        axes.set_title(textwrap.fill(short(title, 40), 21), size=8, fontweight="normal")
        if means[name].empty:
            message(axes, "no map", size=8)
        else:
            _heat(axes, means[name], times, norm)
        if i % _COLUMNS == 0:
            axes.set_ylabel("t", size=9)
        if i + _COLUMNS >= len(titles):
            axes.set_xlabel("s", size=9)
            axes.tick_params(labelbottom=True)
    bar = figure.colorbar(ScalarMappable(norm, _COLOURS), ax=grid.ravel().tolist(), shrink=0.9, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 30 else (1.0, 2.0, 5.0)))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.2g}"))
    bar.ax.tick_params(labelsize=8)
    bar.set_label(f"{what} defect, s to t", size=9)


@styled
def defects(
    maps: pd.DataFrame,
    experiment: Mapping[str, Any],
    problem: str,
    absent: Collection[str] = (),
    reason: str = "",
    shown: Shown = None,
) -> Figure:
    """Heat maps of the semigroup and of the tangent defect, one per student on one logarithmic scale each, over curves
    of the tangent defect at s = t.

    Args:
        maps: ``maps.csv``.
        experiment: ``experiment.json``.
        problem: its key in ``experiment["problems"]``.
        absent: students that have no flow map between any two times, and get no panel.
        reason: what to say where nothing was measured.
        shown: students with maps and a coloured curve; None for all.
    """
    here = maps[(maps["problem"] == problem) & maps["student"].isin(list(experiment["students"]))]
    here = here[np.isfinite(here["value"].to_numpy(dtype=float)) & here["t"].notna()]
    title = short(f"{experiment['problems'][problem]['title']}: where the flow map is wrong", 60)
    names = [name for name in experiment["students"] if (shown is None or name in shown) and name not in absent]
    blocks = {
        what: rows
        for what in ("semigroup", "tangent")
        if not (rows := here[(here["metric"] == f"{what}_map") & here["student"].isin(names)]).empty
    }
    if not blocks:
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left")
        message(figure.add_subplot(), reason or "no map of defects was measured", width=60)
        return figure
    rows = math.ceil(len(names) / _COLUMNS)
    below = 1.9 + legend_height(experiment, 0, shown)
    cell = min(1.75, ((MAX_HEIGHT - below - 0.3) / len(blocks) - 0.6) / rows)
    heights = [*([rows * cell + 0.6] * len(blocks)), below]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.3), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    *upper, lower = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (what, found) in zip(upper, blocks.items(), strict=True):
        _block(part, what, found, {name: method_title(experiment, name) for name in names}, rows)
    axes = lower.subplots()
    axes.set_title("Tangent defect at s = t")
    _tangents(axes, here[(here["metric"] == "tangent_map") & (here["s"] == here["t"])], experiment, shown)
    legend(lower, experiment, [], shown)
    return figure
