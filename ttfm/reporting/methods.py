"""Who takes part: what each student learns, what it needs, and what a step of it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from ttfm.reporting.labels import LEARNS, method_title
from ttfm.reporting.numbers import compact, listed
from ttfm.reporting.summary import joined
from ttfm.reporting.tables import ABSENT, Cell, Row, Table

RULES = (
    "Learns: the quantity that the network is trained to give. Teacher: what the training takes from a flow model that "
    "was trained before; where that is its weights alone, they are the start. Derivative: whether a step takes a "
    "forward-mode derivative (JVP) of the network. Target network: what stands in for the student where its own output "
    "is a target – a copy through which no gradient flows, a moving average (EMA, with its rate), or a copy frozen for "
    "a stage of training. Step: time of one "
    "training step divided by that of one step of flow matching with the same network and batch, measured in turns in "
    "one process; a range is over problems."
)
COLUMNS = [
    *("student", "title", "family", "loss", "learns", "teacher", "start", "derivative", "target"),
    *("relative_low", "relative_high", "source", "note"),
]
_YES = {True: "yes", False: "no"}
_STORED = {"pairs": "pairs", "trajectories": "trajectories", "schedules": "trajectories and schedules"}


def target_words(loss: Mapping[str, Any]) -> str:
    """What a run's target network is, in words, from its record's ``loss``."""
    if loss.get("stages"):
        return "frozen per stage"
    decay = loss.get("target_decay")
    if decay is None:
        return ABSENT
    return f"EMA {decay:g}" if decay else "stop-gradient copy"


def _of_records(
    records: Mapping[tuple[str, str, int | None], Mapping[str, Any]],
    experiment: Mapping[str, Any],
    student: str,
    words: Callable[[Mapping[str, Any]], str],
) -> str:
    """What the records say, "" if none says anything; with the problems where the options of problems differ."""
    found: dict[str, list[str]] = {}
    for (problem, name, _), record in records.items():
        if name == student and record.get("loss"):
            found.setdefault(words(record["loss"]), []).append(experiment["problems"][problem]["title"])
    if len(found) < 2:
        return "".join(found)
    return "; ".join(f"{text} ({listed(dict.fromkeys(titles))})" for text, titles in found.items())


def relative_costs(timing: pd.DataFrame, experiment: Mapping[str, Any]) -> pd.DataFrame:
    """Time of a step in steps of ``fm``: students (rows) by problems (columns), NaN where it was not measured.

    Args:
        timing: ``timing.csv``.
        experiment: ``experiment.json``.
    """
    measured = timing[(timing["status"] == "ok") & timing["relative"].notna()]
    table = measured.pivot_table(index="student", columns="problem", values="relative", aggfunc="mean")
    return table.reindex(index=list(experiment["students"]), columns=list(experiment["problems"])).astype(float)


def start_words(about: Mapping[str, Any], experiment: Mapping[str, Any]) -> str:
    """What a student's training starts from."""
    if about.get("start"):
        return method_title(experiment, about["start"])
    return "teacher" if about["starts_from_teacher"] else "random weights"


def teacher_words(name: str, experiment: Mapping[str, Any]) -> str:
    """What a student's training takes from a flow model trained before; "none" if it takes nothing."""
    about = experiment["students"][name]
    taken = ["velocity"] if about["needs_teacher"] else []
    taken += [_STORED[about["offline"]]] if about["offline"] else []
    if not taken and about.get("start"):
        # What an earlier stage took is in the weights that this one goes on from.
        return teacher_words(about["start"], experiment)
    return ", ".join(taken or (["weights"] if about["starts_from_teacher"] else ["none"]))


def summarise_methods(
    experiment: Mapping[str, Any],
    records: Mapping[tuple[str, str, int | None], Mapping[str, Any]],
    timing: pd.DataFrame,
) -> pd.DataFrame:
    """One row per student in display order; "" where nothing is known, NaN where no time was measured.

    Args:
        experiment: ``experiment.json``.
        records: every run's ``record.json``; their ``loss`` says what the options of a run came to.
        timing: ``timing.csv``.

    Returns:
        A table with the columns ``COLUMNS``, and one column ``relative:<problem>`` for each problem.
    """
    relative = relative_costs(timing, experiment)
    rows = []
    for name, about in experiment["students"].items():
        rows.append({
            "student": name,
            **{key: str(about.get(key, "")) for key in ("title", "family", "loss", "source", "note")},
            "learns": LEARNS.get(about["learns"], about["learns"]),
            "teacher": teacher_words(name, experiment),
            "start": start_words(about, experiment),
            "derivative": _of_records(records, experiment, name, lambda loss: _YES[bool(loss["uses_jvp"])]),
            "target": _of_records(records, experiment, name, target_words),
            "relative_low": relative.loc[name].min(),
            "relative_high": relative.loc[name].max(),
            **{f"relative:{problem}": relative.loc[name, problem] for problem in experiment["problems"]},
        })  # fmt: skip
    return pd.DataFrame(rows)[[*COLUMNS, *(f"relative:{problem}" for problem in experiment["problems"])]]


def _step(row: pd.Series, reason: str) -> Cell:
    low, high = float(row["relative_low"]), float(row["relative_high"])
    if math.isnan(low):
        return Cell("", why=reason or "not measured")
    ends = dict.fromkeys(compact(value) for value in (low, high))
    return Cell("–".join(ends), value=(low + high) / 2)


def methods_table(methods: pd.DataFrame, timing: pd.DataFrame, experiment: Mapping[str, Any]) -> Table:
    """Every student in words, with the cost of a step.

    Args:
        methods: from ``summarise_methods``.
        timing: ``timing.csv``, for the reasons of gaps and what was measured on.
        experiment: ``experiment.json``.
    """
    body = []
    for _, row in methods.iterrows():
        own = timing[(timing["student"] == row["student"]) & (timing["status"] != "ok")]
        words = ("family", "loss", "learns", "teacher", "start", "derivative", "target")
        # An experiment of an older state of the code recorded less: that is unknown, not "none".
        cells = [Cell(row[key]) if row[key] else Cell("", why="not recorded") for key in words]
        cells += [_step(row, joined(own["reason"])), Cell(row["source"])]
        body.append(Row(row["student"], method_title(experiment, row["student"]), tuple(cells)))
    measured = timing[timing["status"] == "ok"]
    scored = ""
    if len(measured):
        commits = joined(commit[:12] for commit in measured["commit"]) or "unknown"
        scored = f"Steps timed at commit {commits}, device {joined(measured['device']) or 'unknown'}."
    header = (
        "family",
        "loss",
        "learns",
        "teacher",
        "starts from",
        "derivative",
        "target network",
        "step, × fm",
    )
    return Table(
        name="methods",
        title="Methods",
        about="",
        rules=RULES,
        scored=scored or "No step was timed.",
        stub="Method",
        header=(*header, "source"),
        groups=(),
        body=tuple(body),
        references=(),
        notes=tuple(f"{row['title']}: {row['note']}" for _, row in methods.iterrows() if row["note"]),
        words=True,
    )
