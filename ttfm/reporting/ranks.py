"""How students stand against each other and against the baseline over all problems, on the headline metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ttfm.reporting.labels import baseline, method_title, sign, step_columns
from ttfm.reporting.names import MANY, SHOWN
from ttfm.reporting.numbers import plural, some
from ttfm.reporting.summary import interval, same_protocol
from ttfm.reporting.tables import ABSENT, Cell, Row, Table

RESAMPLES = 2000
_SEED = 0
FEW = 10
"""Runs below which the page says that the bootstrap's intervals are too narrow: a rule of thumb."""
ALL = "all"
"""In the column ``problem``: over all problems."""
COLUMNS = [
    *("student", "problem", "mean_rank", "ranked", "cells", "difference", "difference_ci", "pairs"),
    *("improvement", "improvement_low", "improvement_high", "runs", "failed", "baseline", "why"),
]


def rank_cells(summary: pd.DataFrame, experiment: Mapping[str, Any], least: int = 2) -> pd.DataFrame:
    """The rank of each student's mean in every cell, that is: problem and step budget, on the headline metric.

    Args:
        summary: from ``summarise``.
        experiment: ``experiment.json``.
        least: successful runs that a student needs to be ranked in a cell; 2 where the ranks are a claim.

    Returns:
        One row per student, one column per (problem, steps; 0 for a metric without budgets); equal means share the mean
        of their places. NaN where a student is not ranked, and for everyone where protocols differ.
    """
    students = list(experiment["students"])
    columns: dict[tuple[str, int], pd.Series] = {}
    for problem, about in experiment["problems"].items():
        here = summary[(summary["problem"] == problem) & (summary["metric"] == about["headline"])]
        here = here[here["student"].isin(students) & (here["n"] >= least)]
        for steps in step_columns(summary, experiment, problem, about["headline"]):
            rows = here[here["steps"].isna()] if steps is None else here[here["steps"] == steps]
            ranks = (sign(about["headline"]) * rows.set_index("student")["mean"]).rank(method="average")
            columns[problem, steps or 0] = ranks.reindex(students) * (1.0 if same_protocol(rows) else math.nan)
    return pd.DataFrame(columns, index=students, dtype=float)


def highlighted(summary: pd.DataFrame, experiment: Mapping[str, Any]) -> list[str]:
    """The students that charts draw in colour, in display order: all, or of more than ``MANY`` the foremost ``SHOWN``.

    Those are the baseline and the students of lowest mean rank, single runs included: what is shown claims nothing. A
    cell that a student lost to failed runs counts as its last place here.
    """
    students = list(experiment["students"])
    if len(students) <= MANY:
        return students
    cells = rank_cells(summary, experiment, least=1)
    for problem, about in experiment["problems"].items():
        rows = summary[(summary["problem"] == problem) & (summary["metric"] == about["headline"])]
        rows = rows[(rows["n"] == 0) & (rows["failed"] > 0)]
        for steps, lost in rows.groupby(rows["steps"].fillna(0)):
            cells.loc[cells.index.isin(lost["student"]), (problem, steps)] = float(len(students))
    order = cells.mean(axis=1).fillna(math.inf).sort_values(kind="stable").index
    first = baseline(experiment)
    chosen = {first, *[name for name in order if name != first][: SHOWN - 1]}
    return [name for name in students if name in chosen]


def run_scores(metrics: pd.DataFrame, experiment: Mapping[str, Any], problem: str, student: str) -> pd.DataFrame:
    """A student's headline metric by seed (rows) and step budget (columns; 0 for none); infinite where a run failed.

    Lower is better: a metric whose higher values are better has its sign turned. Budgets at which the metric is not
    defined for the student are no columns.
    """
    rows = metrics[(metrics["problem"] == problem) & (metrics["student"] == student)]
    headline = experiment["problems"][problem]["headline"]
    rows = rows[rows["metric"] == headline]
    finite = (rows["status"] == "ok") & np.isfinite(rows["value"].astype(float))
    scores = (
        (sign(headline) * rows["value"].astype(float))
        .where(finite, math.inf)
        .mask(rows["status"] == "skipped", math.nan)
    )
    table = pd.DataFrame({"seed": rows["seed"], "steps": rows["steps"].fillna(0).astype(int), "score": scores})
    # A run that failed says "failed" even where a value is not defined: other seeds tell that by being skipped.
    return table.pivot(index="seed", columns="steps", values="score").dropna(axis=1).sort_index()


def failed_seeds(
    metrics: pd.DataFrame, costs: pd.DataFrame, experiment: Mapping[str, Any], problem: str
) -> set[tuple[str, str]]:
    """The runs at a problem that failed, in training or by samples that diverged at any step budget.

    Args:
        metrics: the long table.
        costs: rows of ``costs.csv``: the students asked about.
        experiment: ``experiment.json``.
        problem: its name.

    Returns:
        Pairs of student and seed.
    """
    here = costs[costs["problem"] == problem]
    untrained = here[here["status"] != "ok"]
    found = {(str(student), str(seed)) for student, seed in zip(untrained["student"], untrained["seed"], strict=True)}
    for student in here["student"].unique():
        scores = run_scores(metrics, experiment, problem, student)
        lost = np.isinf(scores.to_numpy(float)).any(axis=1)
        found |= {(str(student), str(seed)) for seed, bad in zip(scores.index, lost, strict=True) if bad}
    return found


def paired_difference(own: pd.DataFrame, other: pd.DataFrame, turned: float = 1.0) -> tuple[float, float, int]:
    """Mean over common seeds of ``own - other``, relative to the mean of ``other``, its 95 % half-width, and the seeds.

    Per seed, the relative difference is averaged over the step budgets at which both have a value: budgets of one run
    are no replicates. The mean of ``other`` per budget, over the same seeds, is the unit and taken as fixed.

    Args:
        own: from ``run_scores``.
        other: the same of the baseline.
        turned: the sign that both were turned by, so that their unit is a size; negative is better either way.

    Returns:
        NaN, NaN, 0 without a common seed or where the baseline's mean is not positive.
    """
    pairs = [table.replace(math.inf, math.nan).dropna(axis=1, how="all") for table in (own, other)]
    budgets = pairs[0].columns.intersection(pairs[1].columns)
    a, b = (table[budgets].dropna() for table in pairs)
    seeds = a.index.intersection(b.index)
    unit = turned * b.loc[seeds].mean()
    if budgets.empty or seeds.empty or not (unit > 0).all():
        return math.nan, math.nan, 0
    relative = ((a.loc[seeds] - b.loc[seeds]) / unit).mean(axis=1).to_numpy(dtype=float)
    return float(relative.mean()), interval(relative), len(relative)


def comparisons(own: pd.DataFrame, other: pd.DataFrame) -> np.ndarray:
    """For each run of ``own`` against each of ``other``: 1 where it is better, 1/2 where equal, mean over budgets.

    Returns:
        Shape ``(runs of own, runs of other)``; empty where the two share no budget or either has fewer than two runs.
    """
    budgets = own.columns.intersection(other.columns)
    if budgets.empty or min(len(own), len(other)) < 2:
        return np.empty((0, 0))
    a = own[budgets].to_numpy(dtype=float)[:, None]
    b = other[budgets].to_numpy(dtype=float)[None]
    return np.asarray(((a < b) + 0.5 * (a == b)).mean(axis=2))


def improvement(tables: list[np.ndarray]) -> tuple[float, float, float]:
    """Probability of improvement, averaged over problems, with a 95 % interval by stratified bootstrap.

    The runs of the student and those of the baseline are drawn again with replacement, each within its problem; a run
    keeps its values at all budgets. The draws are the same for every student.

    Args:
        tables: one of ``comparisons`` per problem; empty ones are left out.

    Returns:
        Estimate, 2.5 % and 97.5 % quantiles; NaN where there is nothing to compare.
    """
    tables = [table for table in tables if table.size]
    if not tables:
        return math.nan, math.nan, math.nan
    rng = np.random.default_rng(_SEED)
    draws = np.zeros(RESAMPLES)
    for table in tables:
        rows = rng.integers(0, table.shape[0], (RESAMPLES, table.shape[0]))
        columns = rng.integers(0, table.shape[1], (RESAMPLES, table.shape[1]))
        draws += table[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2)) / len(tables)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(np.mean([table.mean() for table in tables])), float(low), float(high)


def _why(own: pd.DataFrame, other: pd.DataFrame) -> str:
    """Why there is no paired difference."""
    finite = [table.replace(math.inf, math.nan).dropna(how="all") for table in (own, other)]
    if finite[0].empty or finite[1].empty:
        return "no run with a value" if finite[0].empty else "the baseline has no run with a value"
    if own.columns.intersection(other.columns).empty:
        return "no step budget at which both have a value"
    return "no common seed with values, or a baseline whose mean is not positive"


def summarise_ranks(
    metrics: pd.DataFrame, summary: pd.DataFrame, costs: pd.DataFrame, experiment: Mapping[str, Any]
) -> pd.DataFrame:
    """Ranks, paired differences, probability of improvement and failed runs, per problem and over all of them.

    Args:
        metrics: the long table.
        summary: from ``summarise``.
        costs: ``costs.csv``, one row per run.
        experiment: ``experiment.json``.

    Returns:
        A table with the columns ``COLUMNS``: for each student, in display order, one row per problem and one with the
        problem ``ALL``, which has no paired difference. NaN where nothing can be said.
    """
    first, problems = baseline(experiment), list(experiment["problems"])
    # Every student's runs are looked up in the table several times: of many metrics, only these few rows are asked for.
    headlines = {name: about["headline"] for name, about in experiment["problems"].items()}
    metrics = metrics[metrics["metric"] == metrics["problem"].map(headlines)]
    cells = rank_cells(summary, experiment)
    rivals = {problem: run_scores(metrics, experiment, problem, first) for problem in problems}
    rows: list[dict[str, Any]] = []
    for student in experiment["students"]:
        tables: dict[str, np.ndarray] = {}
        for problem in [*problems, ALL]:
            ranks = cells.loc[student, :] if problem == ALL else cells.loc[student, [problem]]
            row: dict[str, Any] = {"student": student, "problem": problem, "baseline": first, "why": ""}
            row |= {"mean_rank": ranks.mean(), "ranked": int(ranks.notna().sum()), "cells": len(ranks)}
            own = costs[(costs["student"] == student) & ((costs["problem"] == problem) | (problem == ALL))]
            where = problems if problem == ALL else [problem]
            row |= {"runs": len(own), "failed": sum(len(failed_seeds(metrics, own, experiment, at)) for at in where)}
            if problem != ALL and student != first:
                scores = run_scores(metrics, experiment, problem, student)
                names = ("difference", "difference_ci", "pairs")
                turned = sign(experiment["problems"][problem]["headline"])
                row |= dict(zip(names, paired_difference(scores, rivals[problem], turned), strict=True))
                row["why"] = "" if row["pairs"] else _why(scores, rivals[problem])
                tables[problem] = comparisons(scores, rivals[problem])
            chosen = list(tables.values()) if problem == ALL else [tables.get(problem, np.empty((0, 0)))]
            names = ("improvement", "improvement_low", "improvement_high")
            rows.append(row | dict(zip(names, improvement(chosen), strict=True)))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"pairs": "Int64"})


def rules(experiment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How to read the table of ranks: each column's name and what it says."""
    first = method_title(experiment, baseline(experiment))
    return [
        (
            "Mean rank",
            "the place of the student's mean on the headline metric at each problem and step budget (1 is the best), "
            "averaged over these cells. Ranked are students with two or more successful runs in a cell; equal means "
            "share the mean of their places. 3/8 says that only 3 of 8 cells rank the student: such a mean is not "
            "comparable with one over all. Places follow means, whether or not intervals overlap.",
        ),
        (
            f"Difference to {first}",
            f"the headline metric minus that of {first} with the same seed, in % of the mean of {first} and averaged "
            "over the step budgets at which both have a value; then mean ± half-width of the 95 % interval over the "
            "common seeds (Student's t; their number in brackets). Negative is better: of a metric whose higher values "
            "are better, the sign is turned. The mean of the baseline counts "
            "as a fixed unit, failed runs have no difference, and problems are not pooled: they are no sample of "
            "anything.",
        ),
        (
            "P(better)",
            "probability of improvement (Agarwal et al., arXiv 2108.13264): how often a run of the student is better "
            f"than a run of {first}, averaged over step budgets, then over problems, with the 95 % interval of "
            f"{RESAMPLES:,} bootstrap samples of runs, stratified by problem; one half is no difference. A failed run "
            "counts as worse than every successful one, and as equal to a failed one. The bootstrap of few runs is too "
            "sure: where all runs of one are better than all of the other, its interval has no width.",
        ),
        (
            "Failed",
            "runs that diverged, in training or by their samples at any step budget, or failed for another reason, out "
            "of all.",
        ),
        (
            "What is not claimed",
            "one run per student ranks nothing and has neither interval nor probability; nothing is corrected for the "
            "number of comparisons.",
        ),
    ]


def _probability(row: pd.Series, first: str) -> Cell:
    if math.isnan(row["improvement"]):
        return Cell(ABSENT, why="the baseline itself" if row["student"] == first else "needs two runs of each")
    low, high = row["improvement_low"], row["improvement_high"]
    return Cell(f"{row['improvement']:.2f} [{low:.2f}, {high:.2f}]", value=float(row["improvement"]))


def _difference(row: pd.Series, first: str) -> Cell:
    if row["student"] == first:
        return Cell("baseline", why="differences refer to this student")
    if math.isnan(row["difference"]):
        return Cell(ABSENT, why=row["why"])
    mean, half = 100 * row["difference"], 100 * row["difference_ci"]
    # Half-widths set the digits: what is uncertain by tens of per cent has no decimals.
    places = 0 if max(abs(mean), 0 if math.isnan(half) else half) >= 10 else 1
    sign = "+" if round(mean, places) > 0 else ""
    text = f"{sign}{_percent(mean, places)}".replace("-", "−")
    ci = "" if math.isnan(half) else _percent(half, places)
    return Cell(text.replace("−0.0", "0.0") if not round(mean, places) else text, ci, str(row["pairs"]), value=mean)


def _percent(value: float, places: int) -> str:
    return f"{value:.1e}" if abs(value) >= 1e5 else f"{value:,.{places}f}"


def _failed(row: pd.Series) -> Cell:
    if not row["runs"]:
        return Cell(ABSENT, why="no run is recorded")
    return Cell(f"{row['failed']}/{row['runs']}", value=row["failed"] / row["runs"])


def rank_table(ranks: pd.DataFrame, experiment: Mapping[str, Any]) -> Table:
    """Every student, by mean rank; those that nothing ranks come last, in display order.

    Args:
        ranks: from ``summarise_ranks``.
        experiment: ``experiment.json``.
    """
    first, problems = baseline(experiment), experiment["problems"]
    overall = ranks[ranks["problem"] == ALL].sort_values("mean_rank", kind="stable")
    body = []
    for _, row in overall.iterrows():
        own = ranks[ranks["student"] == row["student"]].set_index("problem", drop=False)
        rank = Cell(ABSENT, why="fewer than two successful runs in every cell")
        if row["ranked"]:
            part = "" if row["ranked"] == row["cells"] else f"{row['ranked']}/{row['cells']}"
            rank = Cell(f"{row['mean_rank']:.1f}", n=part, value=float(row["mean_rank"]))
        cells = [rank, *(_difference(own.loc[problem], first) for problem in problems)]
        cells += [_probability(row, first), _failed(row)]
        body.append(Row(row["student"], method_title(experiment, row["student"]), tuple(cells)))
    title = method_title(experiment, first)
    return Table(
        name="ranks",
        title=f"Ranks, and differences to {title}",
        about="",
        rules=" ".join(f"{name}: {text}" for name, text in rules(experiment)),
        scored="",
        stub="Method",
        header=("mean rank", *(about["title"] for about in problems.values()), "P(better)", "failed"),
        groups=(("", 1), (f"difference to {title}, %", len(problems)), ("", 2)),
        body=tuple(body),
        references=(),
        notes=tuple(_notes(ranks, experiment)),
    )


def _notes(ranks: pd.DataFrame, experiment: Mapping[str, Any]) -> list[str]:
    """Why differences are missing, one sentence for all students with the same problem and reason."""
    missing = ranks[ranks["why"] != ""]
    return [
        f"{experiment['problems'][problem]['title']}: no difference for "
        f"{some(method_title(experiment, name) for name in rows['student'])}: {why}."
        for (problem, why), rows in missing.groupby(["problem", "why"], sort=False)
    ]


def rank_sentences(ranks: pd.DataFrame, experiment: Mapping[str, Any]) -> list[str]:
    """What the table of ranks says, in sentences made from it."""
    overall = ranks[ranks["problem"] == ALL]
    first = baseline(experiment)
    full = overall[(overall["ranked"] == overall["cells"]) & (overall["cells"] > 0)].sort_values("mean_rank")
    sentences = []
    if overall["ranked"].sum() == 0:
        return ["Every student has at most one successful run at each problem: nothing is ranked."]
    if len(full) > 1:
        lowest = [f"{method_title(experiment, row['student'])} ({row['mean_rank']:.1f})" for _, row in full.iterrows()]
        cells = plural(int(full["cells"].iloc[0]), "cell")
        head = f"Lowest mean ranks among the {plural(len(full), 'student')} ranked in all {cells}"
        sentences.append(f"{head}: {', '.join(lowest[:3])}. A mean rank has no interval: it orders means, no more.")
    rivals = overall[overall["improvement"].notna()]
    if len(rivals):
        groups = {
            "lies above one half for": rivals[rivals["improvement_low"] > 0.5],
            "lies below it for": rivals[rivals["improvement_high"] < 0.5],
        }
        parts = [
            f"{words} {some(method_title(experiment, name) for name in rows['student']) if len(rows) else 'no student'}"
            for words, rows in groups.items()
        ]
        head = f"Against {method_title(experiment, first)}, the interval of the probability of improvement"
        sentences.append(f"{head} {' and '.join(parts)}, of {plural(len(rivals), 'student')} compared.")
        runs = int(ranks.loc[ranks["problem"] != ALL, "runs"].max())
        if runs < FEW:
            sentences[-1] += f" With {plural(runs, 'run')} at most per problem, these intervals are too narrow."
    failed = overall[overall["failed"] > 0]
    if len(failed):
        who = [
            f"{method_title(experiment, row['student'])} ({row['failed']}/{row['runs']})"
            for _, row in failed.iterrows()
        ]
        sentences.append(f"Runs that failed: {some(who)}.")
    return sentences
