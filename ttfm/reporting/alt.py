"""Captions and alternative texts of figures, made from the numbers that they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ttfm.reporting.convergence import front_members
from ttfm.reporting.labels import REFERENCES, method_title, metric_label, ranked_metrics, step_columns, steps_list
from ttfm.reporting.names import frechet_and_lpips
from ttfm.reporting.numbers import compact, listed, plural

_CAPTIONS = {
    "frechet-lpips": "How close the images are to real ones, as a set (Fréchet distance), and each to the teacher's "
    "finely solved image from the same noise (LPIPS); lower is better. Marks are means over seeds, bars "
    "their 95 % intervals; horizontal lines are the data floor and the teacher's finely solved ODE, the dashed line is "
    "the teacher with as many Euler steps. Axes are logarithmic.",
    "quality": "Quality against sampling steps; lower is better unless a title says otherwise. Marks are means over "
    "seeds, bars their 95 % intervals; horizontal lines are the data floor and the teacher's finely solved ODE, the "
    "dashed line is the teacher with as many Euler steps. Axes of steps and values are logarithmic, with a linear part "
    "around zero for estimates that can be negative. Marks are shifted sideways so that bars stay apart.",
    "families": "The headline metric of every student, a panel for each family of losses; the lines in grey are all "
    "the others, the dashed line is the teacher with as many Euler steps. Marks are means over seeds; intervals are "
    "in the tables.",
    "training": "Training curves. Thin lines are seeds, thick lines their mean. The losses are different quantities "
    "and say little about each other; the map error is the same for all.",
    "samples": "Samples (colour) over real data (grey), by method and number of sampling steps, from the first seed "
    "that succeeded.",
    "trajectories": "States of each student's sampler (colour, dots) over the teacher's finely solved paths (grey) "
    "from the same noise (hollow circles), from the first seed that succeeded.",
    "grid": "Images by method (rows) and number of sampling steps (columns), from the first seed that succeeded. All "
    "cells start from the same few noises, in one order, so the teacher's finely solved ODE on top is what a perfect "
    "student would show.",
    "neighbours": "Framed: samples at the largest number of steps, from the first seed. To the right of each are the "
    "training images nearest to it, by the root mean square difference of pixels, the closest first. On the left are "
    "the first samples; on the right, of all that were looked up, those closest to a training image, where copies "
    "would show. Beside unseen real images, which are no copies, the eye sees how close is close.",
    "cost": "What a training run takes against what comes out of it; the best corner is at the bottom left, or at the "
    "top left where higher is better. Bars are 95 % intervals over seeds.",
    "convergence": "The headline metric at the smallest step budget during training, against iterations and against "
    "seconds of training (without those of scoring). Thin lines are seeds, thick lines their mean over the seeds "
    "that reached the end; runs that failed have no line beyond their last score. The dashed steps are the front of "
    "time and quality: the means that no other beats in both.",
    "defects": "Where the flow map is wrong. The upper maps show the semigroup defect of jumps from s to t: one jump "
    "against two by way of the midpoint. Those below show the tangent defect: the derivative in t of the curve that "
    "the map draws from s, against the teacher's velocity where the curve has come to at t (0.98 in place of 1, where "
    "that velocity is stiff). Both are roots of mean squares, means over seeds, each on one logarithmic scale; "
    "what is lighter is better. Students without a flow map between any two times have no map. The curves are the "
    "tangent defect at s = t: the average velocity over an empty interval against the teacher's.",
}
_SAMPLES = ("samples", "grid", "neighbours")
_BEHIND = ("frechet-lpips", "quality", "training", "convergence", "cost", "defects")


def caption(
    stem: str, experiment: Mapping[str, Any], shown: Sequence[str], convergence: pd.DataFrame | None = None
) -> str:
    """The caption of the figure ``stem``.

    Args:
        stem: one of ``figure_names``.
        experiment: ``experiment.json``.
        shown: the students in colour.
        convergence: from ``summarise_convergence``; needed for figures of convergence alone.
    """
    problem, _, family = stem.rpartition("--")
    parts = [_CAPTIONS[family]]
    if family == "convergence" and convergence is not None:
        members = [method_title(experiment, name) for name, _, _ in front_members(convergence, problem)]
        parts.append(f"On it: {listed(members)}." if members else "")
    rest = [method_title(experiment, name) for name in experiment["students"] if name not in shown]
    if rest:
        chosen = f"the {len(shown)} of {len(shown) + len(rest)} students that stand foremost by mean rank"
        if family in _SAMPLES:
            parts.append(f"Shown are {chosen}, the baseline among them. Left out: {'; '.join(rest)}.")
        elif family == "trajectories":
            parts.append("Shown are the same students as among the samples.")
        elif family in _BEHIND:
            grey = "have no map and a curve in grey" if family == "defects" else "are drawn in grey, as means"
            parts.append(f"In colour are {chosen}, the baseline among them; the others {grey}.")
    return " ".join(part for part in parts if part)


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


def _convergence(convergence: pd.DataFrame, experiment: Mapping[str, Any], problem: str) -> str:
    """What the front of time and quality is, briefly."""
    members = [method_title(experiment, name) for name, _, _ in front_members(convergence, problem)]
    return f"On the front of time and quality: {listed(members)}" if members else "Nothing was scored during training"


def alternative(
    stem: str,
    summary: pd.DataFrame,
    experiment: Mapping[str, Any],
    shown: Sequence[str],
    convergence: pd.DataFrame,
) -> str:
    """What the figure ``stem`` shows, for a reader who does not see it.

    Args:
        stem: one of ``figure_names``.
        summary: from ``summarise``.
        experiment: ``experiment.json``.
        shown: the students in colour.
        convergence: from ``summarise_convergence``.
    """
    methods = listed(method_title(experiment, name) for name in shown)
    maps = [name for name in shown if experiment["students"][name]["learns"] == "any_to_any"]
    mapped = listed(method_title(experiment, name) for name in maps) or "no student"
    rest = len(experiment["students"]) - len(shown)
    everyone = methods if not rest else f"{methods}, and in grey {plural(rest, 'other student')}"
    if stem == "cost":
        titles = listed(about["title"] for about in experiment["problems"].values())
        return (
            f"Scatter plots for {titles}: seconds of a training run against the headline metric, one mark for each of "
            f"{everyone}. The numbers are in the tables of cost and quality."
        )
    problem, _, family = stem.rpartition("--")
    about = experiment["problems"][problem]
    if family in ("quality", "frechet-lpips"):
        drawn = frechet_and_lpips(about) if family != "quality" else None
        metrics = [metric_label(name).title for name in drawn or ranked_metrics(summary, experiment, problem)]
        budgets = step_columns(summary, experiment, problem, about["headline"])
        ends = [_range(summary, experiment, problem, k) for k in dict.fromkeys([budgets[0], budgets[-1]])]
        found = "; ".join(end for end in ends if end)
        return (
            f"Charts of {listed(metrics)} against sampling steps on {about['title']}, a line for each of {everyone}. "
            f"{metric_label(about['headline']).title}: {found or 'no student has a value'}."
        )
    steps = steps_list(experiment["budgets"])
    return {
        "families": f"Charts of {metric_label(about['headline']).title} against sampling steps on {about['title']}, "
        f"a panel for each family of losses, with all {plural(len(experiment['students']), 'student')} by name. The "
        "numbers are in the tables.",
        "training": f"Loss and map error against the training step on {about['title']}, for each of {everyone}.",
        "convergence": f"{metric_label(about['headline']).title} on {about['title']} during training, against "
        f"iterations and against seconds, a line for each of {everyone}. "
        f"{_convergence(convergence, experiment, problem)}.",
        "defects": f"Heat maps of the semigroup and of the tangent defect on {about['title']} over times s and t, "
        f"one each for {mapped}, and curves of the tangent defect at s = t.",
        "samples": f"Grid of scatter plots on {about['title']}: samples of the teacher's Euler steps and of {methods} "
        f"in rows, {steps} in columns, over real data.",
        "trajectories": f"Paths from noise to data on {about['title']}: one panel each for {methods}, drawn over the "
        "teacher's paths.",
        "neighbours": f"Generated images on {about['title']}, each beside its nearest training images: rows are unseen "
        f"real images, the teacher's fine ODE, its Euler steps, and {methods}. The distances are in the tables.",
        "grid": f"Generated images on {about['title']} at {steps}: rows are the teacher's fine ODE, its Euler steps, "
        f"and {methods}; columns are numbers of steps, and all cells share their noises.",
    }[family]
