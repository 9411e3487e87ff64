"""Sample one student at every budget and score it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ttfm.files import read_json, write_arrays
from ttfm.provenance import now
from ttfm.steps.columns import MAP_COLUMNS, SNAPSHOT_COLUMNS
from ttfm.steps.common import (
    build_loss,
    config_argument,
    load_network,
    load_snapshots,
    load_weights,
    path_argument,
    pick_device,
    progress,
    read_config,
    source_noise,
    teacher_field,
    tensors,
    write_csv,
    write_record,
)
from ttfm.steps.scoring import (
    build_scorer,
    completed,
    failed_rows,
    histogram_row,
    input_arguments,
    shown_arrays,
    write_metrics,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ttfm.evaluation.scoring import Scorer
    from ttfm.flow.solvers import Field

Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "student", "the student's weights (safetensors)")
    path_argument(parser, "student-record", "the student's training record (JSON)")
    path_argument(parser, "snapshots", "weights kept during its training (safetensors)", required=False)
    path_argument(parser, "teacher", "the teacher's weights (safetensors)")
    input_arguments(parser)
    path_argument(parser, "snapshot-metrics", "where to write the scores of the snapshots (CSV)", required=False)
    path_argument(parser, "maps", "where to write the defects over a grid of times (CSV)", required=False)


def run(arguments: argparse.Namespace) -> None:
    """Write metrics and samples; a failed training gives failed rows with its reason."""
    from ttfm.evaluation.catalogue import asked_metrics, names

    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    training = read_json(arguments.student_record)
    identity = {"student": config["student"], "loss": config["loss"], "seed": config["seed"]}
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
    write_metrics(arguments.metrics, config, [identity | row for row in rows], device)
    if arguments.snapshot_metrics:
        scored = completed(config, [identity | row for row in snapshots], device)
        write_csv(arguments.snapshot_metrics, scored, SNAPSHOT_COLUMNS)
    if arguments.maps:
        who = {"problem": config["problem"], "student": config["student"], "seed": config["seed"]}
        write_csv(arguments.maps, [who | row for row in maps], MAP_COLUMNS)
    write_record(arguments.record, config, device, started)


@dataclass
class _Evaluation:
    """One trained student and what it is measured against."""

    config: dict[str, Any]
    arguments: argparse.Namespace
    device: str
    training: dict[str, Any]

    def __post_init__(self) -> None:
        self.solution = tensors(self.arguments.solution)
        self.x0: Tensor = self.solution["x0"].to(self.device)
        self.times, self.paths = (self.solution[name].to(self.device) for name in ("times", "paths"))
        data = tensors(self.arguments.data)
        self.scorer: Scorer = build_scorer(self.config, self.arguments, data, self.solution)
        self.loss = build_loss(self.training["config"])

    @cached_property
    def model(self) -> nn.Module:
        """The trained model."""
        return load_weights(self.arguments.student, self._untrained()).to(self.device).eval().requires_grad_(False)

    @cached_property
    def teacher(self) -> Field:
        """The teacher's velocity."""
        return teacher_field(self.config, load_network(self.arguments.teacher, self.config, self.device))

    def _untrained(self) -> nn.Module:
        from ttfm.registry import build_network

        return self.loss.wrap(build_network(self.config["network"], self.config["shape"]), tuple(self.config["shape"]))

    def sample(
        self, model: nn.Module, budget: int, x0: Tensor | None = None, first: int = 0
    ) -> tuple[list[Tensor], str]:
        """The states from noise to sample, and why they leave the path of the ODE, if they do."""
        import torch

        from ttfm.evaluation import sampling, scoring
        from ttfm.flow.fields import LearnedField
        from ttfm.flow.flow_map import FlowMap
        from ttfm.seeds import indexed_noise

        x0 = self.x0 if x0 is None else x0
        # Fresh noise belongs to a sample's index, whichever piece of them is drawn.
        seed, end = self.config["evaluation"]["seed"], first + len(x0)
        if self.config["learns"] == "any_to_any":
            return sampling.any_to_any_path(FlowMap(model), x0, budget), ""
        if self.config["learns"] == "to_data":
            again = lambda i: source_noise(self.config, seed, end, "renoise", i, self.arguments.images)  # noqa: E731
            samples = sampling.consistency_sample(
                FlowMap(model), x0, budget, lambda i: again(i)[first:].to(self.device)
            )
            return [x0, samples], scoring.OFF_PATH if budget > 1 else ""
        if self.config["learns"] == "own":
            shape = tuple(self.config["shape"])
            normal = lambda i: indexed_noise(seed, end, shape, "renoise", i)[first:].to(self.device)  # noqa: E731
            with torch.no_grad():
                samples = self.loss.sample(model, x0, budget, normal, self.teacher)
            return [x0, samples], "" if self.loss.paired else scoring.STOCHASTIC
        return [x0, sampling.velocity_sample(LearnedField(model), x0, budget)], ""

    def final(self, arrays: dict[str, Any]) -> Iterator[Row]:
        """Every metric of the trained student; the samples to show go into ``arrays``."""
        import torch

        from ttfm.evaluation import diagnostics, scoring

        budgets = self.config["budgets"]
        for budget in progress(
            budgets, len(budgets), f"{self.config['problem']}/{self.config['student']}: budgets", "budget"
        ):
            path, off_path = self.sample(self.model, budget)
            samples = path[-1].cpu()
            arrays |= shown_arrays(self.config, budget, samples)
            if self.config["learns"] == "any_to_any" and self.config["kind"] == "points":
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
        yield from self._defects()
        yield from self._descriptions()

    def _descriptions(self) -> Iterator[Row]:
        """What the student's flow is like."""
        from ttfm.evaluation import diagnostics, scoring
        from ttfm.flow.fields import LearnedField
        from ttfm.flow.flow_map import FlowMap

        whole = {"N": self.paths.shape[1], "split": "-", "extractor": "-"}
        if self.config["learns"] in ("to_data", "own"):
            yield from self._skipped("straightness", "jacobian_asymmetry")
            return
        field = LearnedField(self.model)
        if self.config["learns"] == "any_to_any":
            path = diagnostics.map_path(FlowMap(self.model), self.paths[0], self.times)
        else:
            path = diagnostics.velocity_path(field, self.paths[0], self.times)
        yield whole | scoring.measured("straightness", diagnostics.straightness, self.times, path)
        yield whole | scoring.measured(
            "jacobian_asymmetry", diagnostics.jacobian_asymmetry, field, self.times, self.paths
        )

    def _defects(self) -> Iterator[Row]:
        from ttfm.evaluation import scoring
        from ttfm.evaluation.defects import semigroup_defect, tangent_defect
        from ttfm.flow.flow_map import FlowMap

        whole = {"N": self.paths.shape[1], "split": "-", "extractor": "-"}
        if self.config["learns"] == "any_to_any":
            flow_map = FlowMap(self.model)
            yield whole | scoring.measured("semigroup_defect", semigroup_defect, flow_map, self.times, self.paths)
            yield whole | scoring.measured(
                "tangent_defect", tangent_defect, flow_map, self.teacher, self.times, self.paths
            )
            return
        yield from self._skipped("semigroup_defect", "tangent_defect")

    def _skipped(self, *metrics: str) -> Iterator[Row]:
        """Rows of what asks for a map that this model does not have."""
        from ttfm.evaluation.scoring import NO_MAP

        about = {"N": self.paths.shape[1], "split": "-", "extractor": "-", "status": "skipped"}
        yield from (about | {"metric": name, "reason": NO_MAP[self.config["learns"]]} for name in metrics)

    def snapshots(self, final: list[Row]) -> Iterator[Row]:
        """The headline metric of the weights kept during training, and that of the end of it."""
        metric = self.config.get("headline")
        if not (metric and self.arguments.snapshots):
            return
        kept = load_snapshots(self.arguments.snapshots, self.training["snapshots_sha256"])
        last = self.training["iterations"]
        before = self.training["before"]["iterations"], self.training["before"]["seconds"]
        for step, (state, after) in kept.items():
            if step == last:
                continue
            model = self._untrained().to(self.device).eval().requires_grad_(False)
            model.load_state_dict(state)
            for budget in self.config["budgets"]:
                row = self._headline(metric, model, budget)
                yield row | {"steps": budget, "iteration": before[0] + step, "trained_seconds": before[1] + after}
        if kept:
            done = {"iteration": before[0] + last, "trained_seconds": before[1] + self.training["seconds"]}
            yield from (row | done for row in final if row["metric"] == metric)

    def _headline(self, metric: str, model: nn.Module, budget: int) -> Row:
        if metric == "kl_histogram":
            points = self.config["evaluation"]["histogram_samples"]
            generate = lambda x0, start: self.sample(model, budget, x0, start)[0][-1]  # noqa: E731
            return histogram_row(self.config, self.device, points, generate)
        path, off_path = self.sample(model, budget)
        return self.scorer.one(metric, path[-1].cpu(), off_path)

    def maps(self) -> Iterator[Row]:
        """Defects over a grid of times, for heat maps."""
        from ttfm.evaluation.defects import semigroup_map, tangent_map
        from ttfm.flow.flow_map import FlowMap

        if self.config["learns"] != "any_to_any":
            return
        flow_map = FlowMap(self.model)
        for s, t, value in semigroup_map(flow_map, self.times, self.paths):
            yield {"metric": "semigroup_map", "s": s, "t": t, "value": value}
        for s, value in tangent_map(flow_map, self.teacher, self.times, self.paths):
            yield {"metric": "tangent_map", "s": s, "value": value}
