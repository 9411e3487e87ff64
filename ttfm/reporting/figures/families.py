"""Every student of a large experiment by name: a panel for each family of losses, the others behind it in grey."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ttfm.reporting.figures.style import (
    MAX_HEIGHT,
    REFERENCE_LINES,
    REFERENCE_NAMES,
    WIDTH,
    Shown,
    message,
    short,
    step_axis,
    student_marks,
    styled,
    value_axis,
)
from ttfm.reporting.labels import method_title, metric_label, step_columns
from ttfm.reporting.palette import BEHIND, FAINT, Mark, marks

_ROOM = 34
"""Characters of a title beside its panel."""
_ENTRY, _LEAST, _HEAD = 0.165, 0.8, 0.32
"""Inches: a title in a panel's list, the lowest panel, the heading and air of a panel."""


def family_marks(members: Sequence[str], known: Mapping[str, Mark]) -> dict[str, Mark]:
    """Marks of one family's students: their own where they have one, else one that nobody in the family has.

    Args:
        members: the family's students.
        known: marks of all students, as other figures use them.
    """
    found = {name: known[name] for name in members if known[name] is not BEHIND}
    used = Counter(mark.colour for mark in found.values())
    free = [mark for mark in marks(map(str, range(64))).values() if mark not in found.values()]
    for name in members:
        if name not in found:
            # Colours that the family has not seen come first.
            choice = min(free, key=lambda mark: used[mark.colour])
            free.remove(choice)
            used[choice.colour] += 1
            found[name] = choice
    return {name: found[name] for name in members}


@styled
def families(summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str, shown: Shown = None) -> Figure:
    """The headline metric against the step budget, small multiples by family of losses, with everybody's name.

    Args:
        summary: from ``summarise``.
        experiment: ``experiment.json``.
        problem: its key in ``experiment["problems"]``.
        shown: students that have a colour in the other figures, and keep it here; None for all.
    """
    metric = experiment["problems"][problem]["headline"]
    members: dict[str, list[str]] = {}
    for name, about in experiment["students"].items():
        members.setdefault(about.get("family") or "no family named", []).append(name)
    rows = summary[(summary["problem"] == problem) & (summary["metric"] == metric) & (summary["n"] > 0)]
    trained = rows[rows["student"].isin(list(experiment["students"]))]
    room = [max(_LEAST, _ENTRY * len(names)) + _HEAD for names in members.values()]
    height = min(sum(room) + 0.75, MAX_HEIGHT)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    title = f"{experiment['problems'][problem]['title']}: {metric_label(metric).title}, by family"
    figure.suptitle("\n".join(textwrap.wrap(title, 60, max_lines=2, placeholder="…")), x=0.01, ha="left")
    if trained.empty or step_columns(summary, experiment, problem, metric) == [None]:
        message(figure.add_subplot(), "no student has values by step budget", width=60)
        return figure
    # Where many students leave less room than they need, their names shrink with it.
    size = 8.5 * min(1.0, (height - 0.75) / sum(room))
    grid = figure.subplots(len(room), 2, height_ratios=room, width_ratios=[1.35, 1], squeeze=False)
    known = student_marks(experiment, shown)
    for i, ((family, names), (axes, list_axes)) in enumerate(zip(members.items(), grid, strict=True)):
        for name in experiment["students"]:
            own = trained[trained["student"] == name]
            if name not in names:
                axes.plot(own["steps"].to_numpy(dtype=float), own["mean"], color=FAINT, linewidth=0.7)
        handles = []
        for name, mark in family_marks(names, known).items():
            own = trained[trained["student"] == name]
            style: dict[str, Any] = {"color": mark.colour, "marker": mark.marker, "markersize": 4.5, "linewidth": 1.4}
            axes.plot(own["steps"].to_numpy(dtype=float), own["mean"], **style)
            absent = "" if len(own) else " (no value)"
            label = short(method_title(experiment, name), _ROOM - len(absent)) + absent
            handles.append(Line2D([], [], label=label, **style))
        euler = rows[rows["student"] == "teacher_euler"]
        axes.plot(euler["steps"].to_numpy(dtype=float), euler["mean"], **REFERENCE_LINES["teacher_euler"])
        if i == 0 and len(euler):
            line = Line2D([], [], label=REFERENCE_NAMES["teacher_euler"], **REFERENCE_LINES["teacher_euler"])
            handles.append(line)
        levels = np.concatenate([trained["mean"].to_numpy(dtype=float), euler["mean"].to_numpy(dtype=float)])
        value_axis(axes, levels, np.array([]), signed=metric_label(metric).signed)
        step_axis(axes, experiment["budgets"])
        axes.tick_params(labelsize=8, labelbottom=i == len(room) - 1)
        axes.set_title(short(family, 40), size=9.5)
        list_axes.set_axis_off()
        list_axes.legend(
            handles=handles, loc="center left", borderaxespad=0, handlelength=2, labelspacing=0.25,
            prop={"size": size},
        )  # fmt: skip
    grid[-1][0].set_xlabel("sampling steps", size=9)
    return figure
