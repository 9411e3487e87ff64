from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from ttfm.data import digits
from ttfm.evaluation import classifier, features
from ttfm.files import sha256


def test_quantisation_rounds_and_clips():
    values = torch.tensor([-7.0, -1.0, -1 + 0.4 / 127.5, -1 + 0.6 / 127.5, 0.0, 1 / 255, 0.5, 1.0, 1.004, 9.0])
    assert features.quantise(values).tolist() == [0, 0, 0, 1, 128, 128, 191, 255, 255, 255]
    assert features.quantise(values).dtype == torch.uint8


def test_every_byte_survives_the_round_trip():
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(features.quantise(every.float() / 127.5 - 1), every)


def test_images_that_are_not_finite_are_refused(classifier_file):
    images = torch.zeros(4, 1, 8, 8)
    images[2, 0, 3, 3] = float("inf")
    with pytest.raises(ValueError, match="1 of 4 images are not finite"):
        features.extract(images, classifier_file)


def test_features_are_those_of_the_classifier_on_quantised_images(classifier_file):
    images, _ = digits.load("test")
    found = features.extract(images, classifier_file)
    model = classifier.load(classifier_file)
    expected = model.features(features.quantise(images).float() / 127.5 - 1)
    assert found.shape == (898, 64) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert found.std() > 0.1


def test_features_repeat_and_do_not_depend_on_the_batch(classifier_file):
    images, _ = digits.load("test")
    found = features.extract(images, classifier_file)
    np.testing.assert_array_equal(features.extract(images, classifier_file), found)
    np.testing.assert_allclose(features.extract(images, classifier_file, batch=7), found, rtol=1e-4, atol=1e-5)


def test_other_shapes_are_refused(classifier_file):
    with pytest.raises(ValueError, match=r"not \(2, 3, 8, 8\)"):
        features.extract(torch.zeros(2, 3, 8, 8), classifier_file)
    extractor = features.DigitsExtractor(features.EXTRACTOR, ["64"], classifier_file)
    with pytest.raises(ValueError, match=r"not torch.float32 \(2, 3, 8, 8\)"):
        extractor(torch.zeros(2, 3, 8, 8))


def test_the_extractor_is_registered_once_even_after_a_reload(classifier_file):
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    reloaded = importlib.reload(features)
    assert FEATURE_EXTRACTORS_REGISTRY["digits-classifier"] is reloaded.DigitsExtractor


def test_torch_fidelity_itself_can_use_the_extractor(classifier_file):
    import torch_fidelity

    from ttfm.evaluation.scores import frechet_distance

    class Grey(torch.utils.data.Dataset):
        def __init__(self, images):
            self.pixels = features.quantise(images).repeat(1, 3, 1, 1)

        def __len__(self):
            return len(self.pixels)

        def __getitem__(self, index):
            return self.pixels[index]

    train, test = digits.load("train")[0], digits.load("test")[0]
    found = torch_fidelity.calculate_metrics(
        input1=Grey(train),
        input2=Grey(test),
        feature_extractor="digits-classifier",
        feature_extractor_weights_path=str(classifier_file),
        fid=True,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )["frechet_inception_distance"]
    ours = frechet_distance(*(features.extract(images, classifier_file) for images in (train, test)))
    assert found == pytest.approx(ours, rel=1e-3)
    assert ours > 0


def test_the_name_carries_the_beginning_of_the_weights_digest(classifier_file):
    assert features.extractor_name(classifier_file) == f"digits-classifier {sha256(classifier_file)[:8]}"
