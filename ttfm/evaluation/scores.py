"""Scores of two sets of features, through torch-fidelity's own functions, which take any feature matrix.

Nothing is cached: torch-fidelity's cache goes by name alone, and equal names with other data give stale numbers. The
Fréchet distance and its statistics are computed here, to the same numbers (tested against torch-fidelity's): features
pass piece by piece, and symmetric matrices have faster eigenvalues than the general one that torch-fidelity takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
NEIGHBOURS = 3
"""k of precision and recall: the distance to the k-th neighbour is the radius of a point of the manifold."""
PIECE = 2000
"""Rows of a matrix of distances, or of features in double precision, that are held at once."""
SPLITS = 10
"""Parts of the Inception score."""
SIZES = 15
"""Subsets from which a Fréchet distance is extrapolated."""


@dataclass(frozen=True)
class Statistics:
    """The Gaussian fitted to features.

    Attributes:
        mu: mean, shape ``(D,)``, float64.
        sigma: covariance, shape ``(D, D)``, float64.
        count: number of samples it was fitted to.
    """

    mu: np.ndarray
    sigma: np.ndarray
    count: int

    @cached_property
    def root(self) -> np.ndarray:
        """The symmetric square root of the covariance, kept: a reference meets many sets of samples."""
        values, vectors = np.linalg.eigh(self.sigma)
        return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def statistics(features: np.ndarray) -> Statistics:
    """Mean and covariance of features ``(N, D)``, in float64; a mapped array is read piece by piece.

    Raises:
        ValueError: if there are fewer than two samples, or a value is not finite.
    """
    if len(features) < 2:
        raise ValueError(f"a covariance needs at least two samples, not {len(features)}")
    mu, scatter = np.zeros(0), np.zeros(0)
    for piece in _double(features):
        mu = mu + piece.sum(axis=0) if mu.size else piece.sum(axis=0)
    mu /= len(features)
    for piece in _double(features):
        centred = piece - mu
        product = centred.T @ centred
        scatter = scatter + product if scatter.size else product
    return Statistics(mu, scatter / (len(features) - 1), len(features))


def _double(features: np.ndarray) -> Iterator[np.ndarray]:
    """Pieces of a matrix of features in double precision."""
    for start in range(0, len(features), PIECE):
        yield _features(features[start : start + PIECE]).numpy()


def frechet_from_statistics(a: Statistics, b: Statistics) -> float:
    r"""The Fréchet distance :math:`|\mu_a-\mu_b|^2 + tr(\Sigma_a + \Sigma_b - 2 (\Sigma_a \Sigma_b)^{1/2})`.

    Of Gaussians fitted to the features (Heusel et al., arXiv 1706.08500); called FID only with that paper's network.
    Biased upwards for few samples, by an amount that depends on the model: compare at equal N only.

    Raises:
        ValueError: if a set has fewer than 2 D samples or the dimensions differ.
    """
    _same_dimension(len(a.mu), len(b.mu))
    for one in (a, b):
        if one.count < (least := 2 * len(one.mu)):
            raise ValueError(
                f"a Fréchet distance of {len(one.mu)} features needs at least {least} samples, not {one.count}: "
                "the covariance would be mostly noise"
            )
    difference = a.mu - b.mu
    # The product of the covariances has the eigenvalues of the symmetric matrix r A r, r being the root of B.
    product = np.linalg.eigvalsh(b.root @ a.sigma @ b.root).clip(min=0)
    return float(difference @ difference + np.trace(a.sigma) + np.trace(b.sigma) - 2 * np.sqrt(product).sum())


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """The Fréchet distance of features ``(N, D)`` and ``(M, D)``; see :func:`frechet_from_statistics`.

    Raises:
        ValueError: if a set has fewer than 2 D samples, the dimensions differ or a value is not finite.
    """
    return frechet_from_statistics(statistics(features_a), statistics(features_b))


def extrapolated_sizes(count: int, dimension: int) -> list[int]:
    """The sizes of the subsets from which :func:`frechet_infinity` extrapolates, evenly spaced, the last all of them.

    Raises:
        ValueError: if there are fewer than 4 D samples: the range would be too short for a line.
    """
    if count < 4 * dimension:
        raise ValueError(
            f"extrapolating a Fréchet distance of {dimension} features needs at least {4 * dimension} samples, "
            f"not {count}"
        )
    return [int(size) for size in np.linspace(max(2 * dimension, count // 10), count, SIZES)]


def frechet_infinity(features: np.ndarray, reference: Statistics, seed: int = 0) -> float:
    r"""The Fréchet distance extrapolated to infinitely many samples (Chong & Forsyth, arXiv 1911.07023, section 3).

    The bias is linear in 1 / N to first order: a line through the distances of subsets of
    :func:`extrapolated_sizes` against 1 / N, and its value at 0. Subsets are drawn without replacement from a fixed
    seed; the paper generates with Sobol points besides, which a comparison from common noise rules out. The bias of the
    reference set, equal for all models, remains.

    Args:
        features: of the samples, shape ``(N, D)``.
        reference: of the real images.
        seed: seed of the subsets.

    Raises:
        ValueError: if there are fewer than 4 D samples, the dimensions differ or a value is not finite.
    """
    sizes = extrapolated_sizes(*features.shape)
    rng = np.random.default_rng(seed)
    order = (rng.permutation(len(features))[:size] for size in sizes)
    values = [frechet_from_statistics(statistics(features[index]), reference) for index in order]
    return float(np.polynomial.Polynomial.fit(1 / np.array(sizes), values, 1)(0.0))


def kid(features_a: np.ndarray, features_b: np.ndarray, seed: int = 0) -> float:
    r"""The kernel distance: unbiased squared MMD with :math:`k(a, b) = (a^T b / D + 1)^3` (arXiv 1801.01401).

    The mean over 100 random subsets of 1,000 samples. If the smaller set has 1,000 samples or fewer, subsets have its
    size; if then both sets are used whole, one pass is exact and nothing is drawn. May be negative near zero.

    Args:
        features_a: shape ``(N, D)``, N >= 2.
        features_b: shape ``(M, D)``, M >= 2.
        seed: seed of the subsets.

    Raises:
        ValueError: if a set has fewer than two samples, the dimensions differ or a value is not finite.
    """
    a, b = _features(features_a), _features(features_b)
    _same_dimension(a.shape[1], b.shape[1])
    size = min(len(a), len(b), KID_SUBSET_SIZE)
    if size < 2:
        raise ValueError(f"a kernel distance needs at least two samples in each set, not {len(a)} and {len(b)}")
    subsets = 1 if size == len(a) == len(b) else KID_SUBSETS
    settings = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": seed, "verbose": False}
    return kid_features_to_metric(a, b, **settings)[KEY_METRIC_KID_MEAN]


def precision_recall(samples: np.ndarray, reference: np.ndarray, device: str = "cpu") -> tuple[float, float]:
    """Improved precision and recall with k = 3 (Kynkäänniemi et al., arXiv 1904.06991).

    Precision is the share of samples within the manifold of real images, recall that of real images within the manifold
    of samples; a manifold is the union of balls around its points that reach to their k-th neighbour. Both depend on
    the numbers of points.

    Args:
        samples: features of generated images, shape ``(N, D)``.
        reference: features of real images, shape ``(M, D)``.
        device: where distances are computed.

    Raises:
        ValueError: if a set has fewer than four samples, the dimensions differ or a value is not finite.
    """
    a, b = (_features(features).float().to(device) for features in (samples, reference))
    _same_dimension(a.shape[1], b.shape[1])
    if min(len(a), len(b)) <= NEIGHBOURS:
        raise ValueError(f"precision and recall need at least {NEIGHBOURS + 1} samples, not {len(a)} and {len(b)}")
    settings = {"prc_neighborhood": NEIGHBOURS, "prc_batch_size": PIECE, "save_cpu_ram": True, "verbose": False}
    # torch-fidelity collects distances on the CPU, where the radii then are too.
    found = prc_features_to_metric(a, b, **settings)
    return found[KEY_METRIC_PRECISION], found[KEY_METRIC_RECALL]


def inception_score(logits: np.ndarray, seed: int = 0) -> float:
    r"""The Inception score :math:`\exp E\, KL(p(y|x) \,|\, p(y))` (Salimans et al., arXiv 1606.03498).

    The mean over 10 parts of the samples.

    Args:
        logits: of the network of 2015-12-05, without bias, shape ``(N, 1008)``.
        seed: seed of the order in which samples are split.

    Raises:
        ValueError: if there are fewer samples than parts, or a value is not finite.
    """
    if len(logits) < SPLITS:
        raise ValueError(f"an Inception score needs at least {SPLITS} samples, not {len(logits)}")
    return isc_features_to_metric(_features(logits), SPLITS, shuffle=True, rng_seed=seed)[KEY_METRIC_ISC_MEAN]


def _features(features: np.ndarray) -> torch.Tensor:
    """A float64 matrix ``(N, D)``: torch-fidelity would average float32 features in float32."""
    if features.ndim != 2 or not np.isfinite(features).all():
        raise ValueError(f"features must be a matrix (N, D) of finite values; this one has shape {features.shape}")
    return torch.from_numpy(np.array(features, dtype=np.float64, order="C"))


def _same_dimension(a: int, b: int) -> None:
    if a != b:
        raise ValueError(f"the two sets have features of different dimension, {a} and {b}")
