"""What the numbers say, in sentences made from them: nothing here knows a result beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ttfm.reporting.labels import (
    REFERENCES,
    extreme,
    method_title,
    metric_label,
    problem_metrics,
    sign,
    step_columns,
    steps_list,
)
from ttfm.reporting.numbers import compact, duration, listed, plural, some, with_interval
from ttfm.reporting.summary import cells, overlap
from ttfm.reporting.yardstick import against_euler


@dataclass(frozen=True)
class Findings:
    """Sentences under one heading."""

    heading: str
    sentences: tuple[str, ...]


def value(row: pd.Series, beside: pd.Series | None = None) -> str:
    """A mean as "0.083 ± 0.005, n = 3": no interval for one seed, no n where it is that of ``beside``."""
    mean, ci = with_interval(row["mean"], row["ci"])
    if not ci:
        return mean
    return f"{mean} ± {ci}" if beside is not None and beside["n"] == row["n"] else f"{mean} ± {ci}, n = {row['n']}"


def _at(steps: int | None) -> str:
    return "" if steps is None else f"at {steps_list([steps])} "


class _Problem:
    """Sentences on one problem."""

    def __init__(self, summary: pd.DataFrame, experiment: Mapping[str, Any], problem: str):
        self.summary = summary
        self.experiment = experiment
        self.problem = problem
        self.metric = experiment["problems"][problem]["headline"]
        self.steps = step_columns(summary, experiment, problem, self.metric)

    def title(self, student: str) -> str:
        return method_title(self.experiment, student)

    def names(self, rows: pd.DataFrame) -> str:
        return some(self.title(student) for student in rows["student"])

    def trained(self, metric: str, steps: int | None) -> pd.DataFrame:
        rows = self.summary[(self.summary["problem"] == self.problem) & (self.summary["metric"] == metric)]
        rows = rows[rows["steps"].isna()] if steps is None else rows[rows["steps"] == steps]
        rows = rows[~rows["student"].isin(REFERENCES) & (rows["n"] > 0)]
        return rows.sort_values("mean", kind="stable", key=lambda mean: sign(metric) * mean)

    def leader(self, steps: int | None) -> str:
        """Who has the best headline metric at one step budget, and whether that is a ranking."""
        rows = self.trained(self.metric, steps)
        when = _at(steps).capitalize() or "Over the whole map "
        if rows.empty:
            return f"{when}no student has a value."
        if len(rows) == 1:
            return f"{when}only {self.names(rows)} has a value: {value(rows.iloc[0])}."
        best, ties = rows[rows["best"]], rows[rows["tie"]]
        if best.empty:
            return (
                f"{when}the students were scored by different protocols (see the table's caption): nothing is ranked."
            )
        verb = "has" if len(best) == 1 else "share"
        first = best.iloc[0]
        mean, half = with_interval(first["mean"], first["ci"])
        mean += f" ± {half} (n = {first['n']})" if half else ""
        text = f"{when}{self.names(best)} {verb} the {extreme(self.metric)} mean, {mean}"
        alone = rows[rows["ci"].isna()]
        if len(alone) == len(rows):
            return f"{text}, with one seed per student: no ranking is claimed."
        if best["ci"].isna().any():
            return f"{text}, with one seed and no interval: no ranking is claimed."
        others = "" if alone.empty else f" Of one seed, and so without an interval: {self.names(alone)}."
        ties = ties[ties["ci"].notna()]
        if ties.empty:
            after = rows[~rows["best"] & rows["ci"].notna()]
            nearest = (
                f" (nearest: {self.title(after.iloc[0]['student'])}, {value(after.iloc[0], first)})"
                if len(after)
                else ""
            )
            return f"{text}; no other interval overlaps it{nearest}.{others}"
        tied = some(f"{self.title(row['student'])} ({value(row, first)})" for _, row in ties.iterrows())
        who = f"the interval of {tied} overlaps it" if len(ties) == 1 else f"the intervals of {tied} overlap it"
        return f"{text}; {who}, so no ranking among them is claimed.{others}"

    def others(self, steps: int | None) -> list[str]:
        """The same, briefly, for the other metrics at one step budget."""
        parts = []
        for metric in problem_metrics(self.summary, self.experiment, self.problem)[1:]:
            columns = step_columns(self.summary, self.experiment, self.problem, metric)
            rows = self.trained(metric, steps if columns != [None] else None)
            best, ties = rows[rows["best"]], rows[rows["tie"]]
            if best.empty or len(rows) < 2:
                continue
            tied = f" (overlapped by {self.names(ties)})" if len(ties) else ""
            parts.append(f"{metric_label(metric).title}: {self.names(best)}{tied}")
        return [f"Best means on the other metrics {_at(steps).strip()} – {'; '.join(parts)}."] if parts else []

    def trend(self) -> list[str]:
        """What more steps change, from the smallest budget to the largest."""
        if len(self.steps) < 2:
            return []
        first, last = self.steps[0], self.steps[-1]
        groups: dict[str, list[str]] = {"lower": [], "higher": [], "same": []}
        found = cells(self.summary, self.problem, self.metric)
        for student in self.experiment["students"]:
            pair = [found.get((student, k)) for k in (first, last)]
            if any(row is None or row["n"] < 2 for row in pair):
                continue
            a, b = pair
            assert a is not None and b is not None
            apart = not overlap(a["mean"], a["ci"], b["mean"], b["ci"])
            group = "same" if not apart else "lower" if b["mean"] < a["mean"] else "higher"
            groups[group].append(f"{self.title(student)} ({compact(a['mean'])} to {compact(b['mean'])})")
        words = {
            "lower": "lowers the mean of",
            "higher": "raises that of",
            "same": "leaves overlapping intervals for",
        }
        parts = [f"{words[group]} {some(names)}" for group, names in groups.items() if names]
        return [f"Going from {first} to {steps_list([last or 0])} {'; '.join(parts)}."] if parts else []

    def sentences(self) -> tuple[str, ...]:
        leaders = [self.leader(k) for k in self.steps]
        euler = against_euler(self.summary, self.experiment, self.problem)
        return (*leaders, *euler, *self.trend(), *self.others(self.steps[0]))


def _undominated(
    summary: pd.DataFrame, costs: pd.DataFrame, experiment: Mapping[str, Any], problem: str
) -> tuple[int | None, list[str]]:
    """Students that no other beats in both seconds and headline metric at the smallest budget."""
    metric = experiment["problems"][problem]["headline"]
    steps = step_columns(summary, experiment, problem, metric)[0]
    found, points = cells(summary, problem, metric), {}
    for _, cost in costs[(costs["problem"] == problem) & (costs["n"] > 0)].iterrows():
        row = found.get((cost["student"], steps))
        if row is not None and row["n"] > 0 and cost["student"] not in REFERENCES and not math.isnan(cost["seconds"]):
            points[cost["student"]] = (cost["seconds"], sign(metric) * row["mean"])
    if len(points) < 2:
        return steps, []
    front = [
        name
        for name, (seconds, mean) in points.items()
        if not any(s <= seconds and m <= mean and (s, m) != (seconds, mean) for s, m in points.values())
    ]
    return steps, [method_title(experiment, name) for name in front]


def cost_sentences(summary: pd.DataFrame, costs: pd.DataFrame, experiment: Mapping[str, Any]) -> tuple[str, ...]:
    """What a training run cost, per problem, and who is not beaten in both cost and quality."""
    sentences = []
    for problem, about in experiment["problems"].items():
        runs = costs[(costs["problem"] == problem) & (costs["student"] != "teacher") & costs["seconds"].notna()]
        if runs.empty:
            continue
        runs = runs.sort_values("seconds", kind="stable")
        ends = [
            f"{duration(run['seconds'])} ({method_title(experiment, run['student'])})"
            for run in (runs.iloc[0], runs.iloc[-1])
        ]
        text = f"{about['title']}: a training run took {' to '.join(dict.fromkeys(ends))}"
        steps, front = _undominated(summary, costs, experiment, problem)
        if front:
            verb = "is" if len(front) == 1 else "are"
            text += (
                f"; by the means, {some(front)} {verb} beaten by no other student in both time and the headline "
                f"metric {_at(steps).strip()}".rstrip()
            )
        sentences.append(f"{text}.")
    return tuple(sentences)


def caution(summary: pd.DataFrame, failed: int, runs: int) -> tuple[str, ...]:
    """How far the numbers carry: seeds, what the intervals cover, failures."""
    trained = summary[~summary["student"].isin(REFERENCES) & (summary["n"] > 0)]
    seeds = sorted(set(trained["n"]))
    sentences = []
    if seeds and seeds[-1] == 1:
        sentences.append("Every student was trained with one seed: the numbers have no interval and rank nothing.")
    elif seeds:
        spread = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        sentences.append(
            f"The intervals come from {spread} seeds and cover the training seed alone: data, teacher and evaluation "
            "noise are the same for all students. Overlap is not proof of equality, and nothing is corrected for the "
            "number of comparisons."
        )
    if failed:
        sentences.append(
            f"{failed} of {plural(runs, 'training run')} failed; {'it is' if failed == 1 else 'they are'} listed below "
            "with the reason, and the means are over the seeds that succeeded."
        )
    elif runs:
        sentences.append("No training run failed." if runs > 1 else "The one training run succeeded.")
    return tuple(sentences)


def lost_teachers(problems: list[str]) -> tuple[str, ...]:
    """Which problems' teachers failed, by title."""
    if not problems:
        return ()
    whose = f"teacher of {problems[0]}" if len(problems) == 1 else f"teachers of {listed(problems)}"
    return (f"The {whose} failed, and with {'it' if len(problems) == 1 else 'them'} all that needed one.",)


def findings(summary: pd.DataFrame, costs: pd.DataFrame, experiment: Mapping[str, Any]) -> list[Findings]:
    """Everything the page says under "What to make of it".

    Args:
        summary: from ``summarise``.
        costs: from ``summarise_costs``.
        experiment: ``experiment.json``.
    """
    found = [
        Findings(
            f"{about['title']}: {metric_label(about['headline']).title}",
            _Problem(summary, experiment, problem).sentences(),
        )
        for problem, about in experiment["problems"].items()
    ]
    students = costs[costs["student"] != "teacher"]
    failed = int(students["failed"].sum())
    runs = failed + int(students["n"].sum())
    lost = [
        experiment["problems"][run["problem"]]["title"]
        for _, run in costs[costs["student"] == "teacher"].iterrows()
        if run["failed"]
    ]
    found.append(Findings("Cost", cost_sentences(summary, costs, experiment)))
    found.append(Findings("How far this carries", (*lost_teachers(lost), *caution(summary, failed, runs))))
    return [group for group in found if group.sentences]
