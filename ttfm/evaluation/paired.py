"""Errors of samples against others that they pair up with: what training follows and the tables show."""

from __future__ import annotations

from torch import Tensor

from ttfm.evaluation.checks import require_pairs

DIVERGED = 10.0
"""Samples, or errors of them, larger than this many times the teacher's samples, by root mean square, have diverged.
The identity has about one time their size, and the worst student that has learned anything a few."""


def endpoint_rmse(x: Tensor, y: Tensor) -> float:
    r"""The root mean square distance :math:`(\frac1N \sum_i |x_i - y_i|^2)^{1/2}` of paired samples ``(N, *shape)``.

    Raises:
        ValueError: if the shapes differ, are empty, or a value is not finite.
    """
    require_pairs(x, y)
    return (x.double() - y.double()).flatten(1).square().sum(1).mean().sqrt().item()


def l2(x: Tensor, y: Tensor) -> float:
    """The root mean square difference per entry (pixel) of paired samples ``(N, *shape)``.

    Raises:
        ValueError: if the shapes differ, are empty, or a value is not finite.
    """
    require_pairs(x, y)
    return (x.double() - y.double()).square().mean().sqrt().item()
