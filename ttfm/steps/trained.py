"""A trained student: its samplers, and what its flow is like, whatever it is scored on."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ttfm.steps.common import build_loss, labelled, path_argument, source_noise, teacher_field
from ttfm.steps.keeping import spent_argument
from ttfm.steps.stored import load_averages, load_network, load_snapshots, load_weights, tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ttfm.flow.solvers import Field

Row = dict[str, Any]
FLOATS = ("x0", "x1", "times", "paths")
"""Arrays of a solution that describe flows; its images as bytes, which are more, are read where they are scored."""


def student_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a student's weights and record, those kept during its training, and its teacher."""
    path_argument(parser, "student", "the student's weights (safetensors)")
    path_argument(parser, "student-record", "the student's training record (JSON)")
    path_argument(parser, "snapshots", "weights kept during its training (safetensors)", required=False)
    path_argument(parser, "averages", "all averages of its weights (safetensors)", required=False)
    spent_argument(parser)
    path_argument(parser, "teacher", "the teacher's weights (safetensors)")


@dataclass
class Trained:
    """One trained student beside its teacher.

    Args:
        config: the run's resolved config.
        arguments: of a step with :func:`student_arguments`, ``images`` and ``solution``.
        device: where it runs.
        training: the student's record.
    """

    config: dict[str, Any]
    arguments: argparse.Namespace
    device: str
    training: dict[str, Any]

    def __post_init__(self) -> None:
        self.solution = tensors(self.arguments.solution, FLOATS)
        self.times, self.paths = (self.solution[name].to(self.device) for name in ("times", "paths"))
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

    def sample(self, model: nn.Module, budget: int, x0: Tensor, first: int = 0) -> tuple[list[Tensor], str]:
        """The states from noise to sample, and why they leave the path of the ODE, as :meth:`off_path` says.

        Args:
            model: the student.
            budget: number of steps.
            x0: noise, shape ``(N, *shape)``.
            first: index of the first sample.
        """
        with labelled(self.config, len(x0), self.device, first):
            return self._sample(model, budget, x0, first), self.off_path(budget)

    def _sample(self, model: nn.Module, budget: int, x0: Tensor, first: int) -> list[Tensor]:
        import torch

        from ttfm.evaluation import sampling
        from ttfm.flow.fields import LearnedField
        from ttfm.flow.flow_map import FlowMap
        from ttfm.seeds import indexed_noise

        # Fresh noise belongs to a sample's index, whichever piece of them is drawn.
        seed, end = self.config["evaluation"]["seed"], first + len(x0)
        if self.config["learns"] == "any_to_any":
            return sampling.any_to_any_path(FlowMap(model), x0, budget)
        if self.config["learns"] == "to_data":
            images = self.arguments.images
            again = lambda i: source_noise(self.config, seed, end, "renoise", i, images, first).to(self.device)  # noqa: E731
            return [x0, sampling.consistency_sample(FlowMap(model), x0, budget, again)]
        if self.config["learns"] == "own":
            shape = tuple(self.config["shape"])
            normal = lambda i: indexed_noise(seed, end, shape, "renoise", i, first).to(self.device)  # noqa: E731
            with torch.no_grad():
                return [x0, self.loss.sample(model, x0, budget, normal, self.teacher)]
        return [x0, sampling.velocity_sample(LearnedField(model), x0, budget)]

    def about_paths(self) -> Any:
        """A context for questions about the kept trajectories, which are asked at many times in one call."""
        return labelled(self.config, self.paths.shape[1], self.device, repeated=True)

    def off_path(self, budget: int) -> str:
        """Why samples of this many steps leave the path of the teacher's ODE; empty if they do not."""
        from ttfm.evaluation import scoring

        if self.config["learns"] == "to_data":
            return scoring.OFF_PATH if budget > 1 else ""
        if self.config["learns"] == "own":
            return "" if self.loss.paired else scoring.STOCHASTIC
        return ""

    def descriptions(self) -> Iterator[Row]:
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

    def defects(self) -> Iterator[Row]:
        """Where the student's map is no flow map."""
        from ttfm.evaluation import scoring
        from ttfm.evaluation.defects import semigroup_defect, tangent_defect
        from ttfm.flow.flow_map import FlowMap

        whole = {"N": self.paths.shape[1], "split": "-", "extractor": "-"}
        learns, flow_map = self.config["learns"], FlowMap(self.model)
        if learns == "any_to_any":
            yield whole | scoring.measured("semigroup_defect", semigroup_defect, flow_map, self.times, self.paths)
        else:
            yield from self._skipped("semigroup_defect")
        if learns in ("any_to_any", "velocity"):
            yield whole | scoring.measured(
                "tangent_defect", tangent_defect, flow_map, self.teacher, self.times, self.paths
            )
        else:
            yield from self._skipped("tangent_defect")

    def _skipped(self, *metrics: str) -> Iterator[Row]:
        """Rows of what asks for a map that this model does not have."""
        from ttfm.evaluation.scoring import NO_MAP

        about = {"N": self.paths.shape[1], "split": "-", "extractor": "-", "status": "skipped"}
        yield from (about | {"metric": name, "reason": NO_MAP[self.config["learns"]]} for name in metrics)

    def kept(self) -> Iterator[tuple[Row, nn.Module]]:
        """The models of the weights kept during training, without the last, and when that was."""
        if not self.arguments.snapshots:
            return
        found = load_snapshots(self.arguments.snapshots, self.training["snapshots_sha256"])
        before = self.training["before"]["iterations"], self.training["before"]["seconds"]
        for step, (state, after) in found.items():
            if step == self.training["iterations"]:
                continue
            model = self._untrained().to(self.device).eval().requires_grad_(False)
            model.load_state_dict(state)
            yield {"iteration": before[0] + step, "trained_seconds": before[1] + after}, model

    def averaged(self) -> Iterator[tuple[Row, nn.Module]]:
        """The models of all averages of the weights but the first, which is the student's own, and which they are."""
        if not self.arguments.averages:
            return
        found = load_averages(self.arguments.averages, self.training["averages_sha256"])
        for value in self.training["config"]["training"]["ema"][1:]:
            model = self._untrained().to(self.device).eval().requires_grad_(False)
            model.load_state_dict(found[value])
            yield {"average": value}, model

    def end(self) -> Row:
        """When the training ended: iterations and seconds, with those of what it went on from."""
        before = self.training["before"]
        return {
            "iteration": before["iterations"] + self.training["iterations"],
            "trained_seconds": before["seconds"] + self.training["seconds"],
        }

    def maps(self) -> Iterator[Row]:
        """Defects over a grid of times, for heat maps."""
        from ttfm.evaluation.defects import semigroup_map, tangent_map
        from ttfm.flow.flow_map import FlowMap

        if self.config["learns"] != "any_to_any":
            return
        flow_map = FlowMap(self.model)
        for s, t, value in semigroup_map(flow_map, self.times, self.paths):
            yield {"metric": "semigroup_map", "s": s, "t": t, "value": value}
        for s, t, value in tangent_map(flow_map, self.teacher, self.times, self.paths):
            yield {"metric": "tangent_map", "s": s, "t": t, "value": value}
