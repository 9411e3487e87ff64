from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ttfm.data import digits
from ttfm.evaluation import classifier, features
from ttfm.evaluation.quantisation import full_range, quantise
from ttfm.files import sha256

EXTRACTOR = "digits-classifier"


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """The test digits as bytes."""
    return quantise(digits.load("test")[0]).numpy()


def test_quantisation_rounds_and_clips():
    values = torch.tensor([-7.0, -1.0, -1 + 0.4 / 127.5, -1 + 0.6 / 127.5, 0.0, 1 / 255, 0.5, 1.0, 1.004, 9.0])
    assert quantise(values).tolist() == [0, 0, 0, 1, 128, 128, 191, 255, 255, 255]
    assert quantise(values).dtype == torch.uint8


def test_every_byte_survives_the_round_trip():
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(quantise(every.float() / 127.5 - 1), every)


def test_images_that_are_not_finite_are_refused():
    images = torch.zeros(4, 1, 8, 8)
    images[2, 0, 3, 3] = float("inf")
    with pytest.raises(ValueError, match="1 of 4 images are not finite"):
        quantise(images)


def test_bytes_of_a_smaller_range_are_those_of_their_values():
    levels = np.arange(17, dtype=np.uint8)
    expected = quantise(torch.from_numpy(levels).float() / 8 - 1).numpy()
    np.testing.assert_array_equal(full_range(levels, 16), expected)
    assert full_range(levels, 255) is levels


def test_features_are_those_of_the_classifier_on_quantised_images(classifier_file, pixels):
    found = features.extract(pixels, EXTRACTOR, classifier_file)["64"]
    model = classifier.load(classifier_file)
    expected = model.features(torch.from_numpy(pixels).float() / 127.5 - 1)
    assert found.shape == (898, 64) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert found.std() > 0.1


def test_one_network_serves_many_sets_until_its_file_changes(classifier_file, pixels, tmp_path, monkeypatch):
    loaded = []
    create = features.create_feature_extractor
    monkeypatch.setattr(
        features, "create_feature_extractor", lambda *args, **more: loaded.append(args) or create(*args, **more)
    )
    path = tmp_path / "weights.safetensors"
    path.write_bytes(classifier_file.read_bytes())
    first = features.extract(pixels[:8], EXTRACTOR, path)["64"]
    features.extract(pixels[8:16], EXTRACTOR, path)
    assert len(loaded) == 1
    weights = {name: value * 1.5 for name, value in load_file(path).items()}
    save_file(weights, path)
    assert not np.array_equal(features.extract(pixels[:8], EXTRACTOR, path)["64"], first)
    assert len(loaded) == 2


def test_features_repeat_and_do_not_depend_on_the_batch(classifier_file, pixels):
    found = features.extract(pixels, EXTRACTOR, classifier_file)["64"]
    np.testing.assert_array_equal(features.extract(pixels, EXTRACTOR, classifier_file)["64"], found)
    smaller = features.extract(pixels, EXTRACTOR, classifier_file, batch=7)["64"]
    np.testing.assert_allclose(smaller, found, rtol=1e-4, atol=1e-5)


def test_a_mapped_file_gives_the_features_of_its_array(classifier_file, pixels, tmp_path):
    np.save(tmp_path / "images.npy", pixels)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    found = features.extract(mapped, EXTRACTOR, classifier_file)["64"]
    np.testing.assert_array_equal(found, features.extract(pixels, EXTRACTOR, classifier_file)["64"])


def test_what_is_no_set_of_images_is_refused(classifier_file, pixels):
    with pytest.raises(ValueError, match=r"must be uint8 \(N, 1 or 3, H, W\), not float32"):
        features.extract(pixels.astype(np.float32), EXTRACTOR, classifier_file)
    with pytest.raises(ValueError, match=r"not uint8 \(898, 8, 8\)"):
        features.extract(pixels[:, 0], EXTRACTOR, classifier_file)
    with pytest.raises(ValueError, match="no images"):
        features.extract(pixels[:0], EXTRACTOR, classifier_file)
    with pytest.raises(ValueError, match=r"\(N, 3, 8, 8\) are needed, not torch.uint8 \(2, 3, 16, 16\)"):
        features.extract(np.zeros((2, 3, 16, 16), dtype=np.uint8), EXTRACTOR, classifier_file)


def test_the_name_carries_the_beginning_of_the_weights_digest(classifier_file):
    assert features.extractor_name(EXTRACTOR, classifier_file) == f"{EXTRACTOR} {sha256(classifier_file)[:8]}"
