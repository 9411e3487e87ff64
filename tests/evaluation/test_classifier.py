from __future__ import annotations

import pytest
import torch

from ttfm.data import digits
from ttfm.evaluation import classifier
from ttfm.files import sha256


def test_held_out_digits_are_recognised(classifier_file):
    model = classifier.load(classifier_file)
    assert classifier.accuracy(model, *digits.load("test")) > 0.96


def test_features_are_of_order_one_and_their_scale_leaves_the_logits_alone(classifier_file):
    images, _ = digits.load("train")
    model = classifier.load(classifier_file)
    assert model.features(images).square().mean().sqrt().item() == pytest.approx(1.0, abs=1e-4)
    logits = model(images)
    model.body[-2].weight.mul_(7)
    model.body[-2].bias.mul_(7)
    classifier._normalise(model, images)
    torch.testing.assert_close(model.features(images).square().mean(), torch.tensor(1.0))
    model.head.weight.div_(7)
    torch.testing.assert_close(model(images), logits)


def test_training_repeats_whatever_ran_before():
    images, labels = (value[:200] for value in digits.load("train"))
    weights, record = classifier.train_classifier(images, labels, seed=3, epochs=2)
    torch.manual_seed(1)
    torch.set_num_threads(2)
    try:
        again, record_again = classifier.train_classifier(images, labels, seed=3, epochs=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    other, _ = classifier.train_classifier(images, labels, seed=4, epochs=2)
    assert record == record_again
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not torch.equal(weights["head.weight"], other["head.weight"])


def test_training_leaves_global_randomness_alone():
    images, labels = (value[:64] for value in digits.load("train"))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    classifier.train_classifier(images, labels, seed=0, epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_shifts_move_an_image_by_at_most_one_pixel_and_fill_with_background():
    image = torch.full((1, 1, 8, 8), -1.0)
    image[0, 0, 4, 4] = 1.0
    shifted = classifier._shifted(image.repeat(200, 1, 1, 1), torch.Generator().manual_seed(0))
    assert torch.equal(shifted.sum(dim=(1, 2, 3)), torch.full((200,), -62.0))
    rows, columns = (shifted[:, 0] == 1).nonzero()[:, 1:].T
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {(r, c) for r in (3, 4, 5) for c in (3, 4, 5)}


def test_equal_weights_give_equal_files(classifier_file, tmp_path):
    model = classifier.load(classifier_file)
    classifier.save(tmp_path / "copy.safetensors", dict(reversed(model.state_dict().items())))
    assert sha256(tmp_path / "copy.safetensors") == sha256(classifier_file)


def test_a_loaded_classifier_is_for_evaluation(classifier_file):
    model = classifier.load(classifier_file)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_damaged_file_is_named(classifier_file, tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(classifier_file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"damaged\.safetensors: not the weights"):
        classifier.load(damaged)
    classifier.save(damaged, {"head.weight": torch.zeros(10, 64)})
    with pytest.raises(ValueError, match=r"damaged\.safetensors: not the weights"):
        classifier.load(damaged)
