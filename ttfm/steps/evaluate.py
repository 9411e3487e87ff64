"""Sample one student of points at every budget and score it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttfm.devices import pick_device
from ttfm.files import read_json, write_arrays
from ttfm.steps.columns import MAP_COLUMNS, METRIC_COLUMNS, SNAPSHOT_COLUMNS
from ttfm.steps.common import config_argument, path_argument, progress, read_config
from ttfm.steps.keeping import spent
from ttfm.steps.scoring import (
    Tables,
    completed,
    failed_rows,
    histogram_row,
    input_arguments,
    shown_arrays,
    write_together,
)
from ttfm.steps.stored import tensors
from ttfm.steps.trained import Row, Trained, student_arguments

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ttfm.evaluation.distances import Points


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    student_arguments(parser)
    input_arguments(parser)
    path_argument(parser, "snapshot-metrics", "where to write the scores of the snapshots (CSV)", required=False)
    path_argument(parser, "maps", "where to write the defects over a grid of times (CSV)", required=False)


def run_all(runs: list[argparse.Namespace]) -> None:
    """Write metrics and samples of every run; a failed training gives failed rows with its reason."""
    from ttfm.training.states import remove

    states = spent(runs)
    write_together(runs, _run)
    remove(states)


def _run(arguments: argparse.Namespace, tables: Tables) -> None:
    from ttfm.evaluation.catalogue import asked_metrics, names

    config = read_config(arguments.config)
    device = pick_device(config["device"])
    training = read_json(arguments.student_record)
    identity = {"student": config["student"], "loss": config["loss"], "seed": training["config"]["seed"]}
    arrays: dict[str, Any] = {}
    snapshots: list[Row] = []
    maps: list[Row] = []
    if training["status"] != "ok":
        metrics = names(config["kind"], asked_metrics(config["evaluation"]))
        rows = failed_rows(config, metrics, config["budgets"], training["reason"])
    else:
        evaluation = _Evaluation(config, arguments, device, training)
        rows = list(evaluation.final(arrays))
        snapshots = list(evaluation.snapshots(rows))
        maps = list(evaluation.maps()) if config["maps"] else []
    write_arrays(arguments.samples, arrays)
    tables.add(arguments.metrics, completed(config, [identity | row for row in rows], device), METRIC_COLUMNS)
    scored = completed(config, [identity | row for row in snapshots], device)
    tables.add(arguments.snapshot_metrics, scored, SNAPSHOT_COLUMNS)
    who = {"problem": config["problem"], "student": config["student"], "seed": identity["seed"]}
    tables.add(arguments.maps, [who | row for row in maps], MAP_COLUMNS)


@cache
def _reference(data: Path) -> Points:
    """The reference set, whose sums over its own pairs are every seed's."""
    from ttfm.evaluation.distances import Points

    return Points.of(tensors(data)["reference"])


@dataclass
class _Evaluation(Trained):
    """One trained student and what it is measured against."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.x0: Tensor = self.solution["x0"].to(self.device)
        from ttfm.evaluation.scoring import Scorer

        self.scorer = Scorer(_reference(self.arguments.data), self.solution["x1"])

    def final(self, arrays: dict[str, Any]) -> Iterator[Row]:
        """Every metric of the trained student; the samples to show go into ``arrays``."""
        import torch

        from ttfm.evaluation import diagnostics, scoring

        budgets = self.config["budgets"]
        for budget in progress(
            budgets, len(budgets), f"{self.config['problem']}/{self.config['student']}: budgets", "budget"
        ):
            path, off_path = self.sample(self.model, budget, self.x0)
            samples = path[-1].cpu()
            arrays |= shown_arrays(self.config, budget, samples)
            if self.config["learns"] == "any_to_any":
                arrays[f"path_k{budget}"] = torch.stack(path)[:, : self.config["evaluation"]["shown"]].cpu().numpy()
            paired = self.scorer.pairs(None if off_path else samples, off_path)
            for row in (*self.scorer.distribution(samples), *paired):
                yield row | {"steps": budget}
            if (points := self.config["evaluation"]["histogram_samples"]) > 0:
                generate = lambda x0, start, k=budget: self.sample(self.model, k, x0, start)[0][-1]  # noqa: E731
                yield histogram_row(self.config, self.device, points, generate) | {"steps": budget}
            if budget == min(budgets):
                cost = scoring.measured("transport_cost", diagnostics.transport_cost, self.x0.cpu(), samples)
                yield {"N": len(samples), "split": "-", "extractor": "-"} | cost
        yield from self.defects()
        yield from self.descriptions()

    def snapshots(self, final: list[Row]) -> Iterator[Row]:
        """The headline metric of the weights kept during training, and that of the end of it."""
        if not (metric := self.config.get("headline")):
            return
        for when, model in self.kept():
            for budget in self.config["budgets"]:
                yield self._headline(metric, model, budget) | {"steps": budget} | when
        if self.arguments.snapshots:
            yield from (row | self.end() for row in final if row["metric"] == metric)

    def _headline(self, metric: str, model: nn.Module, budget: int) -> Row:
        if metric == "kl_histogram":
            points = self.config["evaluation"]["histogram_samples"]
            generate = lambda x0, start: self.sample(model, budget, x0, start)[0][-1]  # noqa: E731
            return histogram_row(self.config, self.device, points, generate)
        path, off_path = self.sample(model, budget, self.x0)
        return self.scorer.one(metric, path[-1].cpu(), off_path)
