"""Scores of two sets of features, through torch-fidelity's own functions, which take any feature matrix.

Nothing is cached: torch-fidelity's cache goes by name alone, and equal names with other data give stale numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    r"""The Fréchet distance :math:`|\mu_a-\mu_b|^2 + tr(\Sigma_a + \Sigma_b - 2 (\Sigma_a \Sigma_b)^{1/2})`.

    Of Gaussians fitted to the features (Heusel et al., arXiv 1706.08500); called FID only with that paper's network.
    Biased upwards for few samples, by an amount that depends on the model: compare at equal N only.

    Args:
        features_a: shape ``(N, D)``.
        features_b: shape ``(M, D)``.

    Raises:
        ValueError: if a set has fewer than 2 D samples, the dimensions differ or a value is not finite.
    """
    a, b = _features(features_a), _features(features_b)
    _same_dimension(a, b)
    for features in (a, b):
        count, dimension = features.shape
        if count < 2 * dimension:
            raise ValueError(
                f"a Fréchet distance of {dimension} features needs at least {2 * dimension} samples, not {count}: "
                "the covariance would be mostly noise"
            )
    statistics = [fid_features_to_statistics(features) for features in (a, b)]
    return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]


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
    _same_dimension(a, b)
    size = min(len(a), len(b), KID_SUBSET_SIZE)
    if size < 2:
        raise ValueError(f"a kernel distance needs at least two samples in each set, not {len(a)} and {len(b)}")
    subsets = 1 if size == len(a) == len(b) else KID_SUBSETS
    settings = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": seed, "verbose": False}
    return kid_features_to_metric(a, b, **settings)[KEY_METRIC_KID_MEAN]


def _features(features: np.ndarray) -> torch.Tensor:
    """A float64 matrix ``(N, D)``: torch-fidelity would average float32 features in float32."""
    if features.ndim != 2 or not np.isfinite(features).all():
        raise ValueError(f"features must be a matrix (N, D) of finite values; this one has shape {features.shape}")
    return torch.from_numpy(np.array(features, dtype=np.float64, order="C"))


def _same_dimension(a: torch.Tensor, b: torch.Tensor) -> None:
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"the two sets have features of different dimension, {a.shape[1]} and {b.shape[1]}")
