"""From samples to rows of the long table: which metrics a problem has, and why one is missing where it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from ttfm.evaluation import distances, paired
from ttfm.files import read_json

OFF_PATH = "the sampler re-noises between steps and leaves the path of the ODE"
STOCHASTIC = "the sampler draws fresh noise at every step and follows no path of the ODE"
NO_MAP = {
    "to_data": "the model jumps to t = 1 only; it has no map between other times",
    "velocity": "a velocity has no flow map of its own",
    "own": "the model has a sampler of its own and no flow map",
}
"""Why a model that learns something else than a flow map has no defects of one."""
SAME = "an image compared with itself: its PSNR is infinite"
DIGITS = "digits-classifier"
NOT_REPRODUCED = "a set of real data has no noise it came from"

Row = dict[str, Any]


@dataclass
class Scorer:
    """Scores sample sets of one problem against its reference set and the teacher's fine ODE solution.

    Args:
        kind: "points" or "images".
        reference: real samples, shape ``(N, *shape)``.
        solution: the fine solution from the evaluation noise, shape ``(N, *shape)``; index i belongs to noise i.
        classifier: weights of the digit classifier, for digits.
        lpips: folder entry of the LPIPS trunk: its weights and its record, for images.
    """

    kind: str
    reference: Tensor
    solution: Tensor
    classifier: Path | None = None
    lpips: tuple[Path, Path] | None = None
    _lpips_reason: str = field(init=False, default="")

    def diverged(self, samples: Tensor) -> str:
        """Why samples are no samples, in words; empty if their size is that of data.

        A number a billion times too large says no more than that the run diverged, and would make every interval that
        it enters meaningless: beyond :data:`ttfm.evaluation.paired.DIVERGED` times the solution's size it is a failure.
        """
        size, scale = (x.double().square().mean().sqrt().item() for x in (samples, self.solution))
        if size <= paired.DIVERGED * scale:
            return ""
        return f"diverged: the samples' root mean square is {size:.3g}, that of the teacher's {scale:.3g}"

    def _measured(self, samples: Tensor, metric: str, measure: Callable[..., float], *arguments: Any) -> Row:
        if reason := self.diverged(samples):
            return {"metric": metric, "status": "failed", "reason": reason}
        return measured(metric, measure, *arguments)

    def distribution(self, samples: Tensor) -> Iterator[Row]:
        """Metrics of a sample set against the reference set; samples ``(N, *shape)``, N that of the reference."""
        if self.kind == "points":
            common = {"N": len(samples), "split": "fresh", "extractor": "-"}
            points = distances.Points.of(samples)
            for name, metric in (
                ("energy_distance", distances.energy_distance),
                ("sliced_w2", distances.sliced_w2),
                ("mmd", distances.mmd_squared),
            ):
                yield self._measured(samples, name, metric, points, self._reference_points) | common
        elif self.classifier:
            from ttfm.evaluation import features, scores

            extractor = features.extractor_name(DIGITS, self.classifier)
            common = {"N": len(samples), "split": "test", "extractor": extractor}
            for name, score in (("fd-digits", scores.frechet_distance), ("kid-digits", scores.kid)):
                yield self._measured(samples, name, self._feature_score, score, samples) | common

    def _feature_score(self, score: Callable[[np.ndarray, np.ndarray], float], samples: Tensor) -> float:
        from ttfm.evaluation import features

        assert self.classifier is not None
        pixels = features.quantise(samples).numpy()
        return score(features.extract(pixels, DIGITS, self.classifier)["64"], self._reference_features)

    def pairs(self, samples: Tensor | None, reason: str = "") -> Iterator[Row]:
        """Metrics of samples against the fine solution from the same noise; rows without a value where ``reason``."""
        count = len(self.solution)
        common = {"N": count, "split": "-", "extractor": "-"}
        if self.kind == "points":
            if samples is None:
                yield {"metric": "endpoint_rmse", "status": "skipped", "reason": reason} | common
            else:
                yield self._measured(samples, "endpoint_rmse", paired.endpoint_rmse, samples, self.solution) | common
            return
        yield from (row | common for row in self._pixels(samples, reason))
        yield self._perceptual(samples, reason) | {"N": count, "split": "-"}

    def _pixels(self, samples: Tensor | None, reason: str) -> Iterator[Row]:
        """Errors of images as bytes."""
        from ttfm.evaluation import features

        for name, measure in (("l2", paired.image_l2), ("psnr", paired.psnr)):
            if samples is None or (name == "psnr" and samples is self.solution):
                yield {"metric": name, "status": "skipped", "reason": reason or SAME}
                continue
            compare = lambda x, y, measure=measure: measure(  # noqa: E731
                features.quantise(x).numpy(), features.quantise(y).numpy()
            )
            yield self._measured(samples, name, compare, samples, self.solution)

    def one(self, metric: str, samples: Tensor, off_path: str = "") -> Row:
        """A single metric of a sample set ``(N, *shape)``; a row without a value where it left the ODE's path."""
        in_pairs = metric in ("endpoint_rmse", "l2", "psnr", "lpips-squeeze")
        rows = self.pairs(None if off_path else samples, off_path) if in_pairs else self.distribution(samples)
        return next(row for row in rows if row["metric"] == metric)

    def _perceptual(self, samples: Tensor | None, reason: str) -> Row:
        from ttfm.evaluation import perceptual

        row: Row = {"metric": "lpips-squeeze", "extractor": perceptual.extractor_name()}
        model = self._lpips_model
        if model is None or samples is None:
            return row | {"status": "skipped", "reason": self._lpips_reason or reason}
        return row | self._measured(samples, "lpips-squeeze", self._mean_lpips, model, samples)

    def _mean_lpips(self, model: nn.Module, samples: Tensor) -> float:
        from ttfm.evaluation import features, perceptual

        pair = (features.quantise(x).numpy() for x in (samples, self.solution))
        return perceptual.mean_lpips(model, *pair)

    @cached_property
    def _reference_points(self) -> distances.Points:
        return distances.Points.of(self.reference)

    @cached_property
    def _reference_features(self) -> np.ndarray:
        from ttfm.evaluation import features

        assert self.classifier is not None
        return features.extract(features.quantise(self.reference).numpy(), DIGITS, self.classifier)["64"]

    @cached_property
    def _lpips_model(self) -> nn.Module | None:
        from ttfm.evaluation import perceptual

        assert self.lpips is not None
        weights, record = self.lpips
        found = read_json(record)
        if found["status"] != "ok":
            self._lpips_reason = found["reason"]
            return None
        return perceptual.load_lpips(weights)


def measured(metric: str, measure: Callable[..., float], *arguments: Any) -> Row:
    """A row with the measured value, or a failed one with the reason: a diverged model is a result, not a crash."""
    try:
        value = measure(*arguments)
    except ValueError as error:
        return {"metric": metric, "status": "failed", "reason": str(error)}
    if not math.isfinite(value):
        return {"metric": metric, "status": "failed", "reason": f"the value is {value}"}
    return {"metric": metric, "value": value}
