"""What a metric is to tables, figures and experiments. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["points", "images"]


@dataclass(frozen=True)
class Metric:
    """One column of figures in tables and plots.

    Attributes:
        name: the key in ``metrics.csv``.
        title: for headings and axes.
        description: one or two plain sentences: what is compared with what.
        unit: unit of the value, for axes; empty if it has none.
        depends_on_steps: whether the value belongs to a sampling budget, or to the flow map as a whole.
        kind: the problems it is for: "points", "images" or "both".
        signed: whether it is an unbiased estimate, which chance can push below zero where the truth is near zero.
            A logarithmic axis suits every metric, but that of a signed one needs a linear part around zero.
        ranked: whether one value is better than another; False for a description of the flow.
        higher: whether more is better; of most metrics less is.
        optional: whether it is measured only where an experiment asks for it, or its data set's defaults do.
        extractor: the network whose features it compares, if it does; see ``ttfm.evaluation.image_metrics.NETWORKS``.
        score: how it compares images: "frechet", "frechet-infinity", "kid", "precision", "recall", "inception-score",
            "paired" or "nearest"; empty for points.
    """

    name: str
    title: str
    description: str
    unit: str
    depends_on_steps: bool
    kind: Literal["points", "images", "both"]
    signed: bool = False
    ranked: bool = True
    higher: bool = False
    optional: bool = False
    extractor: str = ""
    score: str = ""
