"""Nearest training images, and whether a model repeats them."""

from __future__ import annotations

import numpy as np
import pytest

from ttfm.evaluation import neighbours
from ttfm.evaluation.neighbours import entries, memorisation, nearest


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)


@pytest.mark.parametrize("mirrored", [False, True])
def test_neighbours_are_those_of_the_full_matrix_whatever_the_pieces(monkeypatch, mirrored):
    queries, base = noise(37, 0), noise(101, 1)
    searched = np.concatenate([base, base[..., ::-1]]) if mirrored else base
    difference = (queries[:, None].astype(float) - searched[None]) / 127.5
    distances = np.sqrt(np.square(difference).reshape(37, len(searched), -1).mean(axis=2))
    for size in (4096, 10):
        monkeypatch.setattr(neighbours, "QUERIES", size)
        monkeypatch.setattr(neighbours, "BASE", size)
        found = nearest(queries, base, 3, mirrored)
        np.testing.assert_array_equal(found.index, distances.argsort(axis=1)[:, :3])
        np.testing.assert_allclose(found.distance, np.sort(distances, axis=1)[:, :3], rtol=1e-6)
        np.testing.assert_array_equal(entries(base, found.index), searched[found.index])


def test_a_copy_is_at_distance_zero_a_mirrored_one_where_mirrors_count():
    base = noise(50, 0)
    found = nearest(base[[7, 3]], base)
    assert found.index.tolist() == [[7], [3]] and found.distance.tolist() == [[0.0], [0.0]]
    turned = base[[7]][..., ::-1]
    assert nearest(turned, base).distance[0, 0] > 0.1
    found = nearest(turned, base, mirrored=True)
    assert found.index.tolist() == [[57]] and found.distance.tolist() == [[0.0]]


def test_features_are_compared_as_they_are():
    found = nearest(np.array([[0.0, 3.0]]), np.array([[4.0, 0.0], [50.0, 0.0]]))
    assert found.index.tolist() == [[0]]
    assert found.distance[0, 0] == pytest.approx(np.sqrt((16 + 9) / 2))


def test_copies_show_and_fresh_images_do_not():
    train, test, fresh = noise(400, 0), noise(300, 1), noise(300, 2)
    unseen = nearest(test, train).distance[:, 0]
    honest = memorisation(nearest(fresh, train).distance[:, 0], unseen)
    assert honest.copied < 0.05 and honest.ratio == pytest.approx(1, abs=0.02)
    half = np.concatenate([fresh[:150], train[:150]])
    copying = memorisation(nearest(half, train).distance[:, 0], unseen)
    assert copying.copied == pytest.approx(0.5, abs=0.05)
    assert copying.samples[0] == 0 and copying.unseen == honest.unseen and copying.percentile == 0.01


def test_sets_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="two sets of one kind"):
        nearest(noise(3, 0), noise(3, 0)[:, :1])
    with pytest.raises(ValueError, match="two sets of one kind"):
        nearest(noise(3, 0), noise(3, 0)[:0])
    with pytest.raises(ValueError, match=r"two sets of one kind, not uint8 .* and float64"):
        nearest(noise(3, 0), noise(3, 0) / 255)
    with pytest.raises(ValueError, match="4 neighbours cannot be found among 3"):
        nearest(noise(3, 0), noise(3, 0), 4)
    with pytest.raises(ValueError, match="1 % of 20 unseen images is less than one"):
        memorisation(np.ones(5), np.ones(20))
