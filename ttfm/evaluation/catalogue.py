"""What every metric is called, what it compares with what, and how it is drawn. Imports nothing heavy.

Every ranked metric here is a discrepancy: lower is better, and zero is the best possible value. The others describe.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["points", "images"]

BINS = 128
"""Cells along each side of the grid of the Kullback-Leibler divergence."""


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
        ranked: whether less is better; False for a description of the flow.
        optional: whether it is measured only where an experiment asks for it.
        data: the only data set it is for; empty: every one of its kind.
    """

    name: str
    title: str
    description: str
    unit: str
    depends_on_steps: bool
    kind: Literal["points", "images", "both"]
    signed: bool = False
    ranked: bool = True
    optional: bool = False
    data: str = ""


_ALL = (
    Metric(
        "energy_distance",
        "Energy distance",
        "Generated points against fresh points of the density. Zero only if the two sets are equal; two independent "
        "sets of real points give the floor shown as data.",
        "data units",
        depends_on_steps=True,
        kind="points",
    ),
    Metric(
        "sliced_w2",
        "Sliced Wasserstein-2 distance",
        "Generated points against fresh points of the density: exact one-dimensional optimal transport along 256 fixed "
        "directions, root of the mean square.",
        "data units",
        depends_on_steps=True,
        kind="points",
    ),
    Metric(
        "mmd",
        "Squared MMD",
        "Generated points against fresh points of the density: unbiased squared maximum mean discrepancy under a sum "
        "of five Gaussian kernels of fixed widths.",
        "",
        depends_on_steps=True,
        kind="points",
        signed=True,
    ),
    Metric(
        "kl_histogram",
        "Kullback-Leibler divergence",
        "The density's exact probabilities of the cells of a 128 x 128 grid against the shares of generated points "
        "that fall into them, one point added to each cell. A finite number of points biases it upwards: compare at "
        "equal numbers only, next to the floor of fresh points of the density.",
        "nats",
        depends_on_steps=True,
        kind="points",
        optional=True,
    ),
    Metric(
        "endpoint_rmse",
        "Endpoint error",
        "The student's endpoint against the teacher's fine ODE solution from the same noise, root of the mean square "
        "distance.",
        "data units",
        depends_on_steps=True,
        kind="points",
    ),
    Metric(
        "fd-digits",
        "Fréchet distance (digits)",
        "Generated digits against the test digits: Fréchet distance of Gaussians fitted to 64 features of a small "
        "digit classifier. Not an FID, and comparable only at equal numbers of samples. The floor compares the images "
        "the classifier was trained on with the test digits.",
        "feature units²",
        depends_on_steps=True,
        kind="images",
        data="digits",
    ),
    Metric(
        "kid-digits",
        "Kernel distance (digits)",
        "Generated digits against the test digits: unbiased squared MMD with a cubic kernel on 64 features of a small "
        "digit classifier. The estimator of KID on another network. The floor compares the images the classifier was "
        "trained on with the test digits.",
        "",
        depends_on_steps=True,
        kind="images",
        signed=True,
        data="digits",
    ),
    Metric(
        "lpips-squeeze",
        "LPIPS (SqueezeNet)",
        "The student's image against the teacher's fine ODE solution from the same noise: mean learned perceptual "
        "distance, images enlarged to 32 pixels where smaller.",
        "",
        depends_on_steps=True,
        kind="images",
    ),
    Metric(
        "l2",
        "Pixel error",
        "The student's image against the teacher's fine ODE solution from the same noise, root of the mean square "
        "difference per pixel.",
        "pixel units, range 2",
        depends_on_steps=True,
        kind="images",
    ),
    Metric(
        "semigroup_defect",
        "Semigroup defect",
        "Going from s to t in two jumps against going in one, from states on the teacher's trajectories, root of the "
        "mean square distance. Zero for an exact flow map.",
        "data units",
        depends_on_steps=False,
        kind="both",
    ),
    Metric(
        "tangent_defect",
        "Tangent defect",
        "The average velocity over an empty interval against the teacher's velocity, at states on the teacher's "
        "trajectories up to time 0.98, root of the mean square difference.",
        "data units per unit time",
        depends_on_steps=False,
        kind="both",
    ),
    Metric(
        "straightness",
        "Curvature of the paths",
        "Mean squared deviation of the velocity along a path from that of the straight line between its ends, averaged "
        "over time: zero for straight lines at constant speed. Of the teacher's fine ODE, and of the path that a "
        "student's map draws from the same noise (a velocity's: 32 Euler steps).",
        "squared data units",
        depends_on_steps=False,
        kind="both",
        ranked=False,
    ),
    Metric(
        "transport_cost",
        "Transport cost",
        "Root mean square distance from the noise to the sample, at the smallest number of steps.",
        "data units",
        depends_on_steps=False,
        kind="both",
        ranked=False,
    ),
    Metric(
        "jacobian_asymmetry",
        "Asymmetry of the velocity's Jacobian",
        "How far the velocity (a student's over an empty interval) is from the gradient of a potential, at states on "
        "the teacher's trajectories: 0 for a gradient, as the exact velocity of a Gaussian path is, 1 for a pure "
        "rotation.",
        "",
        depends_on_steps=False,
        kind="both",
        ranked=False,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric by name, in display order."""


def names(kind: Kind, asked: Iterable[str] = (), data: str | None = None) -> list[str]:
    """The metrics of a problem of this kind, in display order; optional ones only if ``asked`` for.

    Args:
        kind: "points" or "images".
        asked: optional metrics to include.
        data: name of the data set; None: the metrics of every set of this kind.
    """
    wanted = set(asked)
    found = (m for m in _ALL if m.kind in (kind, "both") and (data is None or m.data in ("", data)))
    return [metric.name for metric in found if not metric.optional or metric.name in wanted]


def asked_metrics(evaluation: dict[str, Any]) -> list[str]:
    """The optional metrics that a problem's evaluation asks for."""
    return ["kl_histogram"] if evaluation["histogram_samples"] else []
