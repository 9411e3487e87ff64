"""Gather the metrics, costs, times, snapshots and curves of all runs into a table each."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

from ttfm.files import read_json
from ttfm.provenance import now
from ttfm.steps.columns import COST_COLUMNS, MAP_COLUMNS, METRIC_COLUMNS, SNAPSHOT_COLUMNS, TIMING_COLUMNS
from ttfm.steps.common import (
    experiment_argument,
    log,
    record_argument,
    write_csv,
    write_record,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    experiment_argument(parser)
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write metrics.csv, costs.csv, curves.csv, timing.csv, snapshots.csv and maps.csv, in the experiment's order."""
    started = now()
    root: Path = arguments.config.parent
    experiment = read_json(arguments.config)
    metrics: list[dict[str, Any]] = []
    snapshots: list[dict[str, Any]] = []
    maps: list[dict[str, Any]] = []
    timing: list[dict[str, Any]] = []
    costs: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for problem, card in experiment["problems"].items():
        metrics += _csv(root / problem / "baselines" / "metrics.csv")
        if card.get("neighbours"):
            metrics += _csv(root / problem / "neighbours" / "metrics.csv")
        timing += _csv(root / problem / "timing.csv")
        runs = [("teacher", None, root / problem / "teacher")]
        for student in experiment["students"]:
            scored = root / problem / student
            metrics += _csv(scored / "metrics.csv")
            snapshots += _csv(scored / "snapshots.csv")
            maps += _csv(scored / "maps.csv")
            runs += [(student, seed, scored / str(seed)) for seed in card["seeds"]]
        for student, seed, folder in runs:
            who = {"problem": problem, "student": student, "seed": seed}
            costs.append(_cost(read_json(folder / "record.json")) | who)
            curves += [row | who for row in _csv(folder / "curve.csv")]
    write_csv(root / "metrics.csv", metrics, METRIC_COLUMNS)
    write_csv(root / "snapshots.csv", snapshots, SNAPSHOT_COLUMNS)
    write_csv(root / "maps.csv", maps, MAP_COLUMNS)
    write_csv(root / "timing.csv", timing, TIMING_COLUMNS)
    write_csv(root / "costs.csv", costs, COST_COLUMNS)
    names = list(dict.fromkeys(key for row in curves for key in row))
    first = ["problem", "student", "seed", "step", "seconds", "loss", "map_error"]
    write_csv(root / "curves.csv", curves, first + [name for name in names if name not in first])
    write_record(arguments.record, experiment["config"], "cpu", started)
    for row in costs:
        if row["status"] == "failed":
            log.warning("%s/%s/%s failed: %s", row["problem"], row["student"], row["seed"], row["reason"])


def _csv(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _cost(record: dict[str, Any]) -> dict[str, Any]:
    config = record["config"]
    same = (
        "iterations",
        "batch",
        "seconds",
        "seconds_per_step",
        "peak_memory_mb",
        "status",
        "reason",
        "commit",
        "device",
    )
    row = {key: record[key] for key in same} | record["calls"]
    if row["status"] == "ok":
        # What it goes on from is part of its budget.
        row |= {key: record["before"][key] + record[key] for key in ("iterations", "seconds")}
    return row | {"experiment": config["experiment"], "loss": config["loss"]["name"], "seed": config["seed"]}
