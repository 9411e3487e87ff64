"""What every metric is called, what it compares with what, and how it is drawn. Imports nothing heavy.

Most ranked metrics are discrepancies: lower is better, and zero is the best possible value; ``higher`` marks the
others. The rest describe.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ttfm.evaluation.image_metrics import DEFAULTS, IMAGE_METRICS
from ttfm.evaluation.metric import Kind, Metric

BINS = 128
"""Cells along each side of the grid of the Kullback-Leibler divergence."""

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
    *IMAGE_METRICS,
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


def names(kind: Kind, asked: Iterable[str] = DEFAULTS["digits"]) -> list[str]:
    """The metrics of a problem of this kind, in display order; optional ones only if ``asked`` for.

    By default those of the digits: tables published before experiments named their metrics have no others of images.
    """
    wanted = set(asked)
    found = (metric for metric in _ALL if metric.kind in (kind, "both"))
    return [metric.name for metric in found if not metric.optional or metric.name in wanted]


def asked_metrics(evaluation: dict[str, Any]) -> list[str]:
    """The optional metrics that a problem's resolved evaluation asks for."""
    return [*(evaluation.get("metrics") or []), *(["kl_histogram"] if evaluation["histogram_samples"] else [])]
