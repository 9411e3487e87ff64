"""Distances between sets of points.

Everything is computed in float64, in chunks, and nothing draws from global random state: equal inputs, equal values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ttfm.evaluation.checks import require_finite

ROWS = 256
"""Rows of a matrix of pairwise distances held at once: 16 MB at 8,192 columns, and the fastest of the sizes tried."""

BANDWIDTHS = (2.0, 1.0, 0.5, 0.25, 0.125)
"""Widths of the Gaussian kernels of :func:`mmd_squared`, each half of the one before: from the extent of the 2-D
densities, which fill about [-2, 2]^2, down to the width of one mode."""


@dataclass(frozen=True)
class Points:
    """A set of points that remembers the sums over its own pairs: a reference set meets many others.

    Args:
        rows: the points, shape ``(N, D)``, float64.
    """

    rows: Tensor

    @classmethod
    def of(cls, samples: Tensor | Points) -> Points:
        """Samples ``(N, *shape)``, flattened; a set of points stays what it is."""
        return samples if isinstance(samples, Points) else cls(samples.flatten(1).double())

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def distances(self) -> float:
        """The sum of the distances over all ordered pairs."""
        return _within(self.rows, Tensor.sum)

    @cached_property
    def kernels(self) -> float:
        """The sum of the kernel of :func:`mmd_squared` over all ordered pairs, a point with itself included."""
        return _within(self.rows, _kernel_sum)


def energy_distance(x: Tensor | Points, y: Tensor | Points) -> float:
    r"""The energy distance :math:`2 E|x - y| - E|x - x'| - E|y - y'|` of two samples (Székely & Rizzo, 2013).

    The V-statistic: the means within a set run over all pairs, a point with itself included. It is the energy distance
    of the two empirical measures, hence never negative and zero only for equal ones. The price is a bias of
    :math:`E|x - x'|/N + E|y - y'|/M`, so compare values at equal sizes only, next to that of two samples of real data.

    Args:
        x: points, shape ``(N, D)``; samples of any shape ``(N, *shape)`` are flattened.
        y: points, shape ``(M, D)``.

    Raises:
        ValueError: if a set is empty, the dimensions differ or a value is not finite.
    """
    x, y = _points(x, y)
    n, m = len(x), len(y)
    return 2 * _between(x.rows, y.rows, Tensor.sum) / (n * m) - x.distances / n**2 - y.distances / m**2


def mmd_squared(x: Tensor | Points, y: Tensor | Points) -> float:
    r"""The *squared* maximum mean discrepancy of two samples, unbiased (Gretton et al., JMLR 2012, lemma 6).

    .. math:: \frac{1}{N(N-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{M(M-1)} \sum_{i \ne j} k(y_i, y_j)
        - \frac{2}{NM} \sum_{i,j} k(x_i, y_j), \qquad k(x, y) = \sum_h \exp(-|x - y|^2 / 2h^2),

    with the fixed widths h of ``BANDWIDTHS``. Between 0 and 10 in expectation; an estimate near zero may be negative.

    Args:
        x: points, shape ``(N, D)``, N >= 2; samples of any shape ``(N, *shape)`` are flattened.
        y: points, shape ``(M, D)``, M >= 2.

    Raises:
        ValueError: if a set has fewer than two points, the dimensions differ or a value is not finite.
    """
    x, y = _points(x, y)
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"an unbiased squared MMD needs at least two points in each set, not {n} and {m}")
    itself = len(BANDWIDTHS)  # k(x, x)
    within_x = (x.kernels - n * itself) / (n * (n - 1))
    within_y = (y.kernels - m * itself) / (m * (m - 1))
    return within_x + within_y - 2 * _between(x.rows, y.rows, _kernel_sum) / (n * m)


def sliced_w2(x: Tensor | Points, y: Tensor | Points, n_projections: int = 256, seed: int = 0) -> float:
    r"""The sliced Wasserstein-2 distance :math:`(E_\theta W_2^2(\theta^T x, \theta^T y))^{1/2}` (Bonneel et al., 2015).

    Directions come from ``seed`` alone; along each of them sorting gives the exact one-dimensional transport.

    Args:
        x: points, shape ``(N, D)``; samples of any shape ``(N, *shape)`` are flattened.
        y: points, shape ``(N, D)``.
        n_projections: number of directions, at least 1.
        seed: seed of the directions.

    Raises:
        ValueError: if the sets differ in size or dimension, are empty, or a value is not finite.
    """
    x, y = _points(x, y)
    if len(x) != len(y):
        raise ValueError(f"sliced_w2 pairs sorted points and needs sets of equal size, not {len(x)} and {len(y)}")
    theta = directions(x.rows.shape[1], n_projections, seed).to(x.rows.device)
    gaps = _sorted(theta @ x.rows.T) - _sorted(theta @ y.rows.T)
    return gaps.square().mean().sqrt().item()


def directions(dimension: int, count: int, seed: int) -> Tensor:
    """``count`` directions, uniform on the unit sphere, shape ``(count, dimension)``, float64 on the CPU."""
    normal = torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return normal / normal.norm(dim=1, keepdim=True)


def _sorted(values: Tensor) -> Tensor:
    """``values`` with every row in ascending order."""
    # On a CPU, NumPy sorts by vector instructions, several times as fast as torch.
    return torch.from_numpy(np.sort(values.numpy())) if values.device.type == "cpu" else values.sort(dim=1).values


def _points(x: Tensor | Points, y: Tensor | Points) -> tuple[Points, Points]:
    first, second = (z.rows if isinstance(z, Points) else z for z in (x, y))
    if first.ndim < 2 or first.shape[1:] != second.shape[1:] or not first.numel() or not second.numel():
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"two non-empty sets (N, *shape) and (M, *shape) are needed, not {shapes}")
    require_finite(first, "samples")
    require_finite(second, "samples compared with")
    return Points.of(x), Points.of(y)


def _between(x: Tensor, y: Tensor, total: Callable[[Tensor], Tensor]) -> float:
    """Sum of ``total(distances)`` over blocks of the matrix of Euclidean distances ``(N, M)``."""
    return sum(total(_distances(rows, y)).item() for rows in x.split(ROWS))


def _within(x: Tensor, total: Callable[[Tensor], Tensor]) -> float:
    """The same over the distances within one set, ``(N, N)``: what lies beside the diagonal counts for both halves."""
    beside = sum(total(_distances(rows, x[(i + 1) * ROWS :])).item() for i, rows in enumerate(x.split(ROWS)))
    return 2 * beside + sum(total(_distances(rows, rows)).item() for rows in x.split(ROWS))


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # Differences, not inner products: equal points are at distance exactly zero, and close ones lose no digits.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _kernel_sum(distances: Tensor) -> Tensor:
    """Sum of k over a block of distances, which it overwrites."""
    kernel = distances.square_().mul_(-0.5 / BANDWIDTHS[0] ** 2).exp_()
    total = kernel.sum()
    for _ in BANDWIDTHS[1:]:
        # Half the width is the fourth power: two products in place of an exponential.
        total += kernel.square_().square_().sum()
    return total


def histogram_kl(probabilities: Tensor, samples: Tensor, half_width: float) -> float:
    r"""The Kullback-Leibler divergence :math:`\sum_b p_b \log(p_b / q_b)` of samples from known cell probabilities.

    The cells are those of a square grid on :math:`[-h, h]^2`; :math:`q_b = (n_b + 1) / (N + B)` with one point added to
    each of the B cells, so that an empty one costs a finite amount. Points outside the square count in N: their mass is
    missing inside.

    Args:
        probabilities: p, shape ``(bins, bins)``, first axis x, summing to one.
        samples: points, shape ``(N, 2)``.
        half_width: h, in data units.

    Raises:
        ValueError: if there are no points or a value is not finite.
    """
    points, bins = _points(samples, samples)[0].rows, len(probabilities)
    cell = ((points + half_width) / (2 * half_width) * bins).floor().long()
    cell = cell[((cell >= 0) & (cell < bins)).all(dim=1)]
    counts = (cell[:, 0] * bins + cell[:, 1]).bincount(minlength=bins**2).double()
    q = (counts + 1) / (len(points) + bins**2)
    p = probabilities.flatten().double().to(q.device)
    inside = p > 0
    return (p[inside] * (p[inside] / q[inside]).log()).sum().item()
