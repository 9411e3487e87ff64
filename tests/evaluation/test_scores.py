from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from ttfm.data import digits
from ttfm.evaluation import scores
from ttfm.evaluation.features import extract
from ttfm.evaluation.quantisation import quantise
from ttfm.evaluation.scores import (
    extrapolated_sizes,
    frechet_distance,
    frechet_from_statistics,
    frechet_infinity,
    inception_score,
    kid,
    precision_recall,
    statistics,
)


def gaussian(mean, scale, count: int = 200, seed: int = 0) -> np.ndarray:
    """Features whose empirical mean and covariance are exactly ``mean`` and ``scale scale^T``."""
    z = np.random.default_rng(seed).standard_normal((count, len(mean)))
    z -= z.mean(axis=0)
    z = np.linalg.solve(np.linalg.cholesky(np.cov(z, rowvar=False)), z.T).T
    return z @ np.asarray(scale).T + np.asarray(mean)


def test_statistics_are_numpys_and_take_features_piece_by_piece(tmp_path):
    features = np.lib.format.open_memmap(tmp_path / "f.npy", mode="w+", dtype=np.float32, shape=(40_000, 64))
    features[:] = np.random.default_rng(0).standard_normal(features.shape) + 3
    tracemalloc.start()
    found = statistics(features)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < features.size * 8 / 4
    wide = features.astype(np.float64)
    np.testing.assert_allclose(found.mu, wide.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.sigma, np.cov(wide, rowvar=False), rtol=1e-9, atol=1e-12)


def test_frechet_distance_of_axis_aligned_gaussians():
    a = gaussian([0.0, 0.0, 0.0], np.diag([1.0, 2.0, 3.0]))
    b = gaussian([1.0, 2.0, 2.0], np.diag([2.0, 2.0, 0.5]), seed=1)
    # |mean|^2 + sum of (sigma_a - sigma_b)^2.
    assert frechet_distance(a, b) == pytest.approx(9 + 1 + 0 + 6.25, rel=1e-10)


def test_frechet_distance_of_rotated_gaussians():
    angle = 0.3
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    a, b = gaussian([0.0, 0.0], np.diag([1.0, 3.0])), gaussian([0.0, 0.0], rotation @ np.diag([2.0, 1.0]), seed=1)
    # In two dimensions tr (M)^(1/2) = (tr M + 2 (det M)^(1/2))^(1/2), with M the product of the covariances.
    product = np.diag([1.0, 9.0]) @ rotation @ np.diag([4.0, 1.0]) @ rotation.T
    expected = 10 + 5 - 2 * np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_of_equal_features_is_zero():
    a = gaussian([1.0, 2.0], np.eye(2))
    assert frechet_distance(a, a[::-1]) == pytest.approx(0.0, abs=1e-6)


def test_frechet_distance_needs_twice_as_many_samples_as_features():
    enough = np.random.default_rng(0).standard_normal((128, 64))
    assert frechet_distance(enough, enough + 1) == pytest.approx(64, rel=1e-6)
    for pair in ((enough[1:], enough), (enough, enough[1:])):
        with pytest.raises(ValueError, match="64 features needs at least 128 samples, not 127"):
            frechet_distance(*pair)


def test_kid_of_point_masses_in_closed_form():
    a, b = np.tile([1.0, 0.0], (20, 1)), np.tile([1.0, 2.0], (20, 1))
    # (a.b / 2 + 1)^3 with a.a = 1, b.b = 5, a.b = 1.
    assert kid(a, b) == pytest.approx(1.5**3 + 3.5**3 - 2 * 1.5**3, rel=1e-12)


def test_kid_counts_no_sample_against_itself():
    a, b = np.array([[1.0], [2.0]]), np.array([[0.0], [3.0]])
    cross = np.mean([1.0, 4.0**3, 1.0, 7.0**3])
    assert kid(a, b) == pytest.approx(3.0**3 + 1.0 - 2 * cross, rel=1e-12)


def test_kid_of_one_distribution_is_near_zero_and_of_two_is_not():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 600, 8))
    assert abs(kid(a, b)) < 0.01
    assert kid(a, b + 0.5) > 0.1


def test_kid_subsets_are_drawn_from_the_seed(monkeypatch):
    monkeypatch.setattr(scores, "KID_SUBSETS", 4)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1100, 2))
    b += 0.3
    np.random.seed(1)  # noqa: NPY002 (torch-fidelity must not depend on the old global state)
    assert kid(a, b, seed=1) == kid(a, b, seed=1)
    assert kid(a, b, seed=1) != kid(a, b, seed=2)
    # Whole sets leave nothing to draw.
    assert kid(a[:900], b[:900], seed=1) == pytest.approx(kid(a[:900], b[:900], seed=2), rel=1e-12)
    # Subsets estimate what the whole sets give.
    assert kid(a[:900], b[:1000]) == pytest.approx(kid(a[:900], b[:900]), rel=0.2)


@pytest.mark.parametrize("score", [frechet_distance, kid])
def test_features_that_do_not_fit_are_refused(score):
    a = np.random.default_rng(0).standard_normal((20, 3))
    with pytest.raises(ValueError, match="different dimension, 3 and 2"):
        score(a, a[:, :2])
    with pytest.raises(ValueError, match="finite"):
        score(a, np.where(a > 1, np.nan, a))
    with pytest.raises(ValueError, match=r"shape \(20,\)"):
        score(a[:, 0], a)
    with pytest.raises(ValueError, match="at least"):
        score(a[:1], a)


def test_nothing_is_printed(capfd):
    a = np.random.default_rng(0).standard_normal((20, 3))
    frechet_distance(a, a)
    kid(a, a)
    assert capfd.readouterr() == ("", "")


def test_both_scores_tell_spoilt_digits_from_real_ones(classifier_file):
    train, test = digits.load("train")[0], digits.load("test")[0]

    def features(images):
        return extract(quantise(images).numpy(), "digits-classifier", classifier_file)["64"]

    train_features, test_features, spoilt = map(features, (train, test, test.roll(2, dims=3)))
    assert frechet_distance(spoilt, train_features) > 3 * frechet_distance(test_features, train_features)
    assert kid(spoilt, train_features) > 3 * abs(kid(test_features, train_features))


def test_statistics_stand_for_their_features():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 300, 5)).astype(np.float32)
    fitted = statistics(a)
    np.testing.assert_allclose(fitted.mu, a.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(fitted.sigma, np.cov(a.astype(np.float64), rowvar=False), rtol=1e-12)
    assert fitted.count == 300
    assert frechet_from_statistics(fitted, statistics(b)) == frechet_distance(a, b)


def test_the_root_of_a_reference_is_taken_once(monkeypatch):
    rng = np.random.default_rng(0)
    reference, *sets = (statistics(rng.standard_normal((200, 5))) for _ in range(4))
    asked = []
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: asked.append(matrix) or eigh(matrix))
    found = [frechet_from_statistics(one, reference) for one in sets]
    assert len(asked) == 1
    np.testing.assert_allclose(reference.root @ reference.root, reference.sigma, atol=1e-12)
    assert found == [frechet_from_statistics(one, replace(reference)) for one in sets]


def test_the_extrapolation_is_nearer_to_the_truth_than_any_finite_sample():
    rng = np.random.default_rng(0)
    reference = statistics(rng.standard_normal((200_000, 8)))
    samples = rng.standard_normal((2000, 8)) + 0.1
    truth = 8 * 0.1**2
    found = frechet_infinity(samples, reference)
    finite = frechet_from_statistics(statistics(samples[:200]), reference)
    assert abs(found - truth) < 0.3 * abs(finite - truth)
    assert frechet_infinity(samples, reference) == found != frechet_infinity(samples, reference, seed=1)


def test_the_extrapolation_says_its_range_and_what_it_needs():
    assert extrapolated_sizes(50_000, 2048)[0] == 5000 and extrapolated_sizes(50_000, 2048)[-1] == 50_000
    assert extrapolated_sizes(10_000, 2048)[0] == 4096
    assert len(extrapolated_sizes(50_000, 2048)) == 15
    with pytest.raises(ValueError, match="needs at least 8192 samples, not 5000"):
        extrapolated_sizes(5000, 2048)


def test_precision_and_recall_of_sets_known_by_eye():
    near, far = np.arange(20.0)[:, None], np.arange(20.0)[:, None] + 1000
    assert precision_recall(near, near) == (1, 1)
    assert precision_recall(near, far) == (0, 0)
    # Half of the samples are elsewhere; the real set is covered by the other half.
    assert precision_recall(np.concatenate([near, far]), near) == (0.5, 1)
    # The samples are real but cover half of the real set.
    assert precision_recall(near, np.concatenate([near, far])) == (1, 0.5)
    with pytest.raises(ValueError, match="at least 4 samples"):
        precision_recall(near[:3], near)


def test_the_inception_score_of_certain_even_and_of_undecided_classes():
    certain = np.tile(np.eye(5) * 100, (400, 1))
    assert inception_score(certain) == pytest.approx(5, rel=0.02)
    assert inception_score(np.zeros((40, 5))) == pytest.approx(1)
    assert inception_score(np.tile(certain[:1], (40, 1))) == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 10 samples, not 9"):
        inception_score(certain[:9])
