"""From samples to rows of the long table: which metrics a problem has, and why one is missing where it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from ttfm.evaluation import distances, paired

OFF_PATH = "the sampler re-noises between steps and leaves the path of the ODE"
STOCHASTIC = "the sampler draws fresh noise at every step and follows no path of the ODE"
NO_MAP = {
    "to_data": "the model jumps to t = 1 only; it has no map between other times",
    "velocity": "a velocity has no flow map of its own",
    "own": "the model has a sampler of its own and no flow map",
}
"""Why a model that learns something else than a flow map has no defects of one."""
NOT_REPRODUCED = "a set of real data has no noise it came from"

Row = dict[str, Any]


@dataclass
class Scorer:
    """Scores sets of points against a problem's reference set and the teacher's fine ODE solution.

    Args:
        reference: real samples, shape ``(N, *shape)``, as points where several scorers share them.
        solution: the fine solution from the evaluation noise, shape ``(N, *shape)``; index i belongs to noise i.
    """

    reference: Tensor | distances.Points
    solution: Tensor

    def _measured(self, samples: Tensor, metric: str, measure: Callable[..., float], *arguments: Any) -> Row:
        size, scale = (x.double().square().mean().item() for x in (samples, self.solution))
        if reason := diverged(size, scale):
            return {"metric": metric, "status": "failed", "reason": reason}
        return measured(metric, measure, *arguments)

    def distribution(self, samples: Tensor) -> Iterator[Row]:
        """Metrics of a sample set against the reference set; samples ``(N, *shape)``, N that of the reference."""
        common = {"N": len(samples), "split": "fresh", "extractor": "-"}
        points = distances.Points.of(samples)
        for name, metric in (
            ("energy_distance", distances.energy_distance),
            ("sliced_w2", distances.sliced_w2),
            ("mmd", distances.mmd_squared),
        ):
            yield self._measured(samples, name, metric, points, self._reference_points) | common

    def pairs(self, samples: Tensor | None, reason: str = "") -> Iterator[Row]:
        """Metrics of samples against the fine solution from the same noise; rows without a value where ``reason``."""
        common = {"N": len(self.solution), "split": "-", "extractor": "-"}
        if samples is None:
            yield {"metric": "endpoint_rmse", "status": "skipped", "reason": reason} | common
        else:
            yield self._measured(samples, "endpoint_rmse", paired.endpoint_rmse, samples, self.solution) | common

    def one(self, metric: str, samples: Tensor, off_path: str = "") -> Row:
        """A single metric of a sample set ``(N, *shape)``; a row without a value where it left the ODE's path."""
        in_pairs = metric == "endpoint_rmse"
        rows = self.pairs(None if off_path else samples, off_path) if in_pairs else self.distribution(samples)
        return next(row for row in rows if row["metric"] == metric)

    @cached_property
    def _reference_points(self) -> distances.Points:
        return distances.Points.of(self.reference)


def diverged(square: float, scale: float) -> str:
    """Why samples are no samples, in words; empty if their size is that of data.

    A number a billion times too large says no more than that the run diverged, and would make every interval that it
    enters meaningless: beyond :data:`ttfm.evaluation.paired.DIVERGED` times the solution's size it is a failure.

    Args:
        square: mean square of the samples.
        scale: mean square of the teacher's solution.
    """
    size, typical = math.sqrt(square), math.sqrt(scale)
    if size <= paired.DIVERGED * typical:
        return ""
    return f"diverged: the samples' root mean square is {size:.3g}, that of the teacher's {typical:.3g}"


def measured(metric: str, measure: Callable[..., float], *arguments: Any) -> Row:
    """A row with the measured value, or a failed one with the reason: a diverged model is a result, not a crash."""
    try:
        value = measure(*arguments)
    except ValueError as error:
        return {"metric": metric, "status": "failed", "reason": str(error)}
    if not math.isfinite(value):
        return {"metric": metric, "status": "failed", "reason": f"the value is {value}"}
    return {"metric": metric, "value": value}
