"""The result files of one experiment, read and checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ttfm.files import read_json

METRICS = [
    *("experiment", "problem", "student", "loss", "seed", "steps", "metric", "value"),
    *("N", "split", "extractor", "status", "reason", "commit", "device"),
]
COSTS = [
    *("experiment", "problem", "student", "loss", "seed", "iterations", "batch", "seconds", "seconds_per_step"),
    *("peak_memory_mb", "forward", "backward", "jvp", "teacher", "status", "reason", "commit", "device"),
]
CURVES = ["problem", "student", "seed", "step", "loss"]
TIMING = [
    *("experiment", "problem", "student", "loss", "seconds_per_step", "relative", "repeats"),
    *("status", "reason", "commit", "device"),
]
SNAPSHOTS = [*METRICS, "iteration", "trained_seconds", "average"]
MAPS = ["problem", "student", "seed", "metric", "s", "t", "value"]
_NAMES = {"problem", "student"}
_TEXT = {*_NAMES, "experiment", "loss", "metric", "split", "extractor", "status", "reason", "commit", "device"}
_INTEGER = {"seed", "steps", "N", "iteration"}


@dataclass(frozen=True)
class Results:
    """Everything reporting reads of one experiment, except the arrays.

    Attributes:
        folder: ``results/<experiment>``.
        experiment: ``experiment.json``.
        metrics: the long table; text columns hold "" where empty, numbers NA.
        costs: one row per training run.
        curves: all training curves.
        timing: time of one training step per problem and student, beside that of ``fm``; may be empty.
        snapshots: scores during training, like ``metrics``; may be empty.
        maps: defects over times, one row per problem, student, seed, metric, s and t; may be empty.
        records: every ``record.json``, keyed by (problem, student, seed); a teacher's seed is None.
    """

    folder: Path
    experiment: dict[str, Any]
    metrics: pd.DataFrame
    costs: pd.DataFrame
    curves: pd.DataFrame
    timing: pd.DataFrame
    snapshots: pd.DataFrame
    maps: pd.DataFrame
    records: dict[tuple[str, str, int | None], dict[str, Any]]


def read_table(path: Path, columns: list[str], text: set[str], *, optional: bool = False) -> pd.DataFrame:
    """Read a CSV of the experiment; further columns are kept.

    Args:
        path: the file.
        columns: columns it must have.
        text: columns that hold text; all others hold numbers.
        optional: whether a missing file is an empty table.

    Raises:
        FileNotFoundError: naming the file and what makes it.
        ValueError: naming the file and the missing columns, or the column that is not numeric.
    """
    if path.is_file():
        # Everything as text first: a student may well be called "NA", and an empty cell must stay distinct from it.
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    elif optional:
        table = pd.DataFrame(columns=columns, dtype=str)
    else:
        raise FileNotFoundError(f"{path} does not exist; run the experiment's collection step before its report")
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; it was written by another version, collect it again")
    for column in table.columns:
        if column in text:
            continue
        try:
            numbers = pd.to_numeric(table[column].replace("", None))
            table[column] = numbers.astype("Int64") if column in _INTEGER else numbers.astype(float)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: column {column} must hold numbers ({error})") from error
    return table


def _records(folder: Path, experiment: dict[str, Any]) -> dict[tuple[str, str, int | None], dict[str, Any]]:
    found: dict[tuple[str, str, int | None], dict[str, Any]] = {}
    for problem, about in experiment["problems"].items():
        teacher = folder / problem / "teacher" / "record.json"
        if teacher.is_file():
            found[problem, "teacher", None] = read_json(teacher)
        for student in experiment["students"]:
            for seed in about["seeds"]:
                record = folder / problem / student / str(seed) / "record.json"
                if record.is_file():
                    found[problem, student, seed] = read_json(record)
    return found


def made_records(folder: Path, without: Collection[str] = ("tables", "figures")) -> list[dict[str, Any]]:
    """The provenance of all that decides a number: data, teachers, students, scores; ``without`` some folders."""
    records = []
    for path in sorted(folder.rglob("*.json")):
        if {"plan", *without}.isdisjoint(path.relative_to(folder).parts) and path.name != "collected.json":
            value = read_json(path)
            records += [value] if "started" in value else []
    return records


def load(results: Path) -> Results:
    """Read ``results/<experiment>``.

    Raises:
        FileNotFoundError: if a file that every experiment has is missing.
        ValueError: if a file is damaged, with its name.
    """
    results = Path(results)
    plan = results / "experiment.json"
    if not plan.is_file():
        raise FileNotFoundError(f"{plan} does not exist; {results} is not the results folder of an experiment")
    experiment = read_json(plan)
    return Results(
        folder=results,
        experiment=experiment,
        metrics=read_table(results / "metrics.csv", METRICS, _TEXT),
        costs=read_table(results / "costs.csv", COSTS, _TEXT),
        curves=read_table(results / "curves.csv", CURVES, _NAMES),
        # Measured only where an experiment asks for it.
        timing=read_table(results / "timing.csv", TIMING, _TEXT, optional=True),
        snapshots=read_table(results / "snapshots.csv", SNAPSHOTS, _TEXT, optional=True),
        maps=read_table(results / "maps.csv", MAPS, {*_NAMES, "metric"}, optional=True),
        records=_records(results, experiment),
    )
