"""From the long table of single runs to one line per problem, metric, method and step budget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ttfm.reporting.labels import REFERENCES, metric_label, metric_order, sign

COLUMNS = [
    *("problem", "metric", "student", "steps", "mean", "ci", "n", "failed", "skipped"),
    *("N", "split", "extractor", "best", "tie", "reason", "commit", "device"),
]
_CELL = ["problem", "metric", "student", "steps"]
_PROTOCOL = ["N", "split", "extractor"]


def interval(values: np.ndarray) -> float:
    """Half-width of the two-sided 95 % interval of the mean by Student's t; NaN for fewer than two values.

    Args:
        values: one number per replicate, shape ``(n,)``.
    """
    n = len(values)
    if n < 2:
        return math.nan
    return float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n))


def joined(values: Iterable[Any]) -> str:
    """The distinct non-empty values in order of first appearance, as one text."""
    return "; ".join(dict.fromkeys(str(value) for value in values if not pd.isna(value) and str(value) != ""))


def overlap(mean: float, ci: float, other_mean: float, other_ci: float) -> bool:
    """Whether two intervals share a point; an unknown half-width (one replicate) counts as zero."""
    half_widths = sum(half for half in (ci, other_ci) if not math.isnan(half))
    return abs(mean - other_mean) <= half_widths


def same_protocol(rows: pd.DataFrame) -> bool:
    """Whether numbers were scored alike (N, split, extractor), so that they can be compared."""
    return len(rows[_PROTOCOL].drop_duplicates()) <= 1


def _cell(rows: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    runs = range(len(rows["value"]))
    finite = [math.isfinite(float(value)) for value in rows["value"]]
    ok = [status == "ok" for status in rows["status"]]
    # By seed, so that the order in which runs finished cannot move the last digit of a mean.
    scored = sorted((run for run in runs if ok[run] and finite[run]), key=lambda run: rows["seed"][run])
    values = np.array([float(rows["value"][run]) for run in scored])
    reasons = [rows["reason"][run] for run in runs if not (ok[run] and finite[run])]
    lost = [ok[run] and not finite[run] for run in runs]
    if any(lost):
        reasons.append("the value is not a finite number")
    return {
        "mean": float(values.mean()) if len(values) else math.nan,
        "ci": interval(values),
        "n": len(values),
        "failed": sum(rows["status"][run] == "failed" or lost[run] for run in runs),
        "skipped": sum(status == "skipped" for status in rows["status"]),
        "reason": joined(reasons),
        # What a failed run would have been scored on is not known; the scored runs say it.
        **{name: joined(rows[name][run] for run in scored or runs) for name in _PROTOCOL},
        **{name: joined(rows[name]) for name in ("commit", "device")},
    }


def _mark_best(summary: pd.DataFrame) -> None:
    best: list[Any] = []
    ties: list[Any] = []
    trained = summary[~summary["student"].isin(REFERENCES) & (summary["n"] > 0)]
    ranked = trained[np.array([metric_label(name).ranked for name in trained["metric"]], dtype=bool)]
    for _, group in ranked.groupby(["problem", "metric", "steps"], dropna=False, sort=False):
        # Numbers scored by different protocols (another N, split or network) have no best among them.
        if len(group[_PROTOCOL].drop_duplicates()) > 1:
            continue
        turned = sign(group["metric"].iloc[0])
        first = group.sort_values("mean", kind="stable", ascending=turned > 0).iloc[0]
        for index, row in group.iterrows():
            if row["mean"] == first["mean"]:
                best.append(index)
            elif overlap(row["mean"], row["ci"], first["mean"], first["ci"]):
                ties.append(index)
    summary["best"] = summary.index.isin(best)
    summary["tie"] = summary.index.isin(ties)


def _ranks(found: Iterable[str], order: Iterable[str]) -> dict[str, int]:
    return {name: rank for rank, name in enumerate(dict.fromkeys([*order, *found]))}


def summarise(metrics: pd.DataFrame, experiment: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """One row per (problem, metric, student, steps) with mean and interval over the seeds that succeeded.

    Failed and skipped cells keep their row: ``mean`` and ``ci`` are NaN, ``reason`` says why. ``best`` is the best mean
    (the lowest, or the highest where that is better) among trained students within (problem, metric, steps), never a
    reference and never a single seed's best; ``tie`` marks students whose interval overlaps that of the best. Where
    students were scored by different protocols (N, split, extractor), there is no best.

    Args:
        metrics: the long table, as ``inputs.load`` reads it.
        experiment: ``experiment.json``, for the display order; without it, order of first appearance.

    Returns:
        A table with the columns ``COLUMNS``; problems, metrics and students in display order (references last), then
        by steps (rows without a step budget first).
    """
    table = {str(name): list(values) for name, values in metrics[metrics["metric"] != ""].items()}
    table["steps"] = [None if pd.isna(k) else k for k in table["steps"]]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for run, key in enumerate(zip(*(table[name] for name in _CELL), strict=True)):
        groups.setdefault(key, []).append(run)
    rows = [
        dict(zip(_CELL, key, strict=True))
        | _cell({name: [values[run] for run in runs] for name, values in table.items()})
        for key, runs in groups.items()
    ]
    summary = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("best", "tie")])
    summary["steps"] = summary["steps"].astype("Int64")
    problems = experiment["problems"] if experiment else {}
    students = [name for name in summary["student"] if name not in REFERENCES]
    ranks = {
        "problem": _ranks(summary["problem"], problems),
        "metric": _ranks([], metric_order(summary["metric"], "")),
        "student": _ranks([*students, *REFERENCES], experiment["students"] if experiment else []),
    }
    keys = pd.DataFrame({name: summary[name].map(rank) for name, rank in ranks.items()})
    keys["steps"] = summary["steps"].fillna(0)
    summary = summary.loc[keys.sort_values([*ranks, "steps"], kind="stable").index].reset_index(drop=True)
    _mark_best(summary)
    return summary[COLUMNS]


def summary_csv(summary: pd.DataFrame) -> str:
    """The summary as CSV text: nine significant digits, empty cells where nothing was measured."""
    return summary.to_csv(index=False, float_format="%.9g", lineterminator="\n")


def cells(summary: pd.DataFrame, problem: str, metric: str) -> dict[tuple[str, int | None], pd.Series]:
    """All that :func:`pick` finds for one metric of one problem, by student and steps."""
    rows = summary[(summary["problem"] == problem) & (summary["metric"] == metric)]
    return {(row["student"], None if pd.isna(row["steps"]) else int(row["steps"])): row for _, row in rows.iterrows()}


def pick(summary: pd.DataFrame, problem: str, metric: str, student: str, steps: int | None) -> pd.Series | None:
    """The row of one cell, or None where the experiment has no such row; ``steps`` None means "without a budget"."""
    rows = summary[(summary["problem"] == problem) & (summary["metric"] == metric) & (summary["student"] == student)]
    rows = rows[rows["steps"].isna()] if steps is None else rows[rows["steps"] == steps]
    return None if rows.empty else rows.iloc[0]
