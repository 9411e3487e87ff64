"""From files of images and features to rows of the long table: every metric of every set of generated images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from torch import nn

from ttfm.evaluation import paired, perceptual, scores
from ttfm.evaluation.catalogue import METRICS
from ttfm.evaluation.metric import Metric
from ttfm.evaluation.sample_sets import SampleSets, Set
from ttfm.evaluation.scores import Statistics
from ttfm.evaluation.scoring import NOT_REPRODUCED, Row, measured

BYTES = "uint8"
"""The quantisation, which the column ``extractor`` names beside the network."""
SAME = "the teacher's images would be compared with themselves"
TOO_FEW = "the other split has too few images"


@dataclass(frozen=True)
class Reference:
    """Real images as a network sees them.

    Attributes:
        statistics: of all images of the split.
        features: of some of its images, shape ``(M, D)``, for scores that compare sets.
        split: "train" or "test".
        logits: of the same images, for the Inception score; None for other networks.
    """

    statistics: Statistics
    features: np.ndarray
    split: str
    logits: np.ndarray | None = None


@dataclass
class Network:
    """What one network made of all images, or why it made nothing.

    Attributes:
        name: what tables call it, with its digest.
        reference: the real images compared with.
        floor: real images of the other split; index i of no noise.
        features: of the generated ones, shape ``(sets, N, D)``, mapped.
        logits: the same for the Inception score.
        missing: why it cannot be had; empty if it is.
        reconstructed: test images through the problem's autoencoder, where it has one.
    """

    name: str
    reference: Reference | None = None
    floor: Reference | None = None
    features: np.ndarray | None = None
    logits: np.ndarray | None = None
    missing: str = ""
    reconstructed: Reference | None = None
    _statistics: dict[int, Statistics] = field(default_factory=dict)
    _manifolds: dict[int, tuple[float, float]] = field(default_factory=dict)

    def statistics(self, row: int) -> Statistics:
        """Of one set of generated images, fitted once."""
        assert self.features is not None
        if row not in self._statistics:
            self._statistics[row] = scores.statistics(self.features[row])
        return self._statistics[row]

    def precision_recall(self, row: int, features: np.ndarray, device: str) -> tuple[float, float]:
        """Of one set of generated images, or of real ones (row -1 and below): two metrics, computed once."""
        assert self.reference is not None
        if row not in self._manifolds:
            self._manifolds[row] = scores.precision_recall(features, self.reference.features, device)
        return self._manifolds[row]


@dataclass(frozen=True)
class ImageScorer:
    """Scores sets of generated images.

    Attributes:
        metrics: names of the metrics, in order.
        networks: by the name that the catalogue uses.
        perceptual: models of LPIPS by trunk, or why one is missing.
        solution: the teacher's fine solutions as bytes, shape ``(N, C, H, W)``.
        device: where distances between features are computed.
    """

    metrics: tuple[str, ...]
    networks: dict[str, Network]
    perceptual: dict[str, nn.Module | str]
    solution: np.ndarray
    device: str = "cpu"

    def rows(self, samples: SampleSets) -> Iterator[Row]:
        """A row per set and metric, with ``snapshot`` in it; of snapshots the first metric alone."""
        for index, entry in enumerate(samples.sets):
            for name in self.metrics[:1] if entry.snapshot else self.metrics:
                row = self._row(METRICS[name], index, entry, samples)
                yield entry.about | row | {"snapshot": entry.snapshot}

    def floor(self, samples: int, student: Literal["data", "autoencoder"] = "data") -> Iterator[Row]:
        """Rows of real images against the reference: those of the other split, or test images through an autoencoder.

        Args:
            samples: how many were generated of each set.
            student: what the rows are called.
        """
        for metric in (METRICS[name] for name in self.metrics):
            row: Row = {"metric": metric.name, "student": student}
            if metric.score == "paired":
                yield row | self._about(metric, samples) | {"status": "skipped", "reason": NOT_REPRODUCED}
                continue
            network = self.networks[metric.extractor]
            floor = network.floor if student == "data" else network.reconstructed
            if floor is None:
                yield row | self._about(metric, samples) | {"status": "skipped", "reason": network.missing or TOO_FEW}
                continue
            count, whole = len(floor.features), metric.score == "frechet"
            about = self._about(metric, floor.statistics.count if whole else count)
            logits = floor.logits
            place = -1 if student == "data" else -2
            value = measured(metric.name, self._distance, metric, place, floor.statistics, floor.features, logits)
            yield row | about | value

    def _row(self, metric: Metric, index: int, entry: Set, samples: SampleSets) -> Row:
        row: Row = {"metric": metric.name} | self._about(metric, samples.count)
        if metric.score == "paired":
            return row | self._paired(metric.name, index, entry, samples)
        network = self.networks[metric.extractor]
        if network.missing:
            return row | {"status": "skipped", "reason": network.missing}
        if entry.failed:
            return row | {"status": "failed", "reason": entry.failed}
        assert network.features is not None
        logits = None if network.logits is None else network.logits[index]
        features = network.features[index]
        statistics = network.statistics(index) if metric.score == "frechet" else None
        return row | measured(metric.name, self._distance, metric, index, statistics, features, logits)

    def _about(self, metric: Metric, count: int) -> Row:
        """What was compared with what: N, split, extractor and quantisation."""
        if metric.score == "paired":
            trunk = metric.name.removeprefix("lpips-")
            name = f"{perceptual.extractor_name(trunk)} {BYTES}" if trunk in perceptual.TRUNKS else BYTES
            return {"N": count, "split": "-", "extractor": name}
        network = self.networks[metric.extractor]
        split = "-" if network.reference is None or metric.score == "inception-score" else network.reference.split
        name = f"{network.name} {BYTES}"
        if metric.score in ("kid", "precision", "recall") and network.reference is not None:
            name += f", {len(network.reference.features)} real"
        if metric.score == "frechet-infinity" and network.reference is not None:
            dimension = len(network.reference.statistics.mu)
            if count >= 4 * dimension:
                sizes = scores.extrapolated_sizes(count, dimension)
                name += f", N from {sizes[0]} to {sizes[-1]}"
        return {"N": count, "split": split, "extractor": name}

    def _distance(
        self,
        metric: Metric,
        index: int,
        statistics: Statistics | None,
        features: np.ndarray,
        logits: np.ndarray | None,
    ) -> float:
        network = self.networks[metric.extractor]
        reference = network.reference
        assert reference is not None
        match metric.score:
            case "frechet":
                assert statistics is not None
                return scores.frechet_from_statistics(statistics, reference.statistics)
            case "frechet-infinity":
                return scores.frechet_infinity(features, reference.statistics)
            case "kid":
                return scores.kid(features, reference.features)
            case "precision":
                return network.precision_recall(index, features, self.device)[0]
            case "recall":
                return network.precision_recall(index, features, self.device)[1]
            case _:
                assert logits is not None
                return scores.inception_score(logits)

    def _paired(self, name: str, index: int, entry: Set, samples: SampleSets) -> Row:
        model = self.perceptual.get(name.removeprefix("lpips-"))
        reason = model if isinstance(model, str) else entry.off_path
        if name == "psnr" and entry.exact:
            reason = SAME
        if reason:
            return {"status": "skipped", "reason": reason}
        if entry.failed:
            return {"status": "failed", "reason": entry.failed}
        images = samples.images[index]
        if isinstance(model, nn.Module):
            return measured(name, perceptual.mean_lpips, model, images, self.solution)
        return measured(name, paired.image_l2 if name == "l2" else paired.psnr, images, self.solution)
