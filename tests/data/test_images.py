"""Training batches from bytes."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ttfm.data.arrays import read_images, write_images
from ttfm.data.digits import Digits
from ttfm.data.images import Images
from ttfm.registry import build_data
from ttfm.seeds import generator


def test_batches_of_digits_are_the_published_ones_to_the_bit(tmp_path):
    """Digits as floats, byte / 8 - 1, indexed by the generator's first numbers: what published results come from."""
    order = np.random.default_rng(0).permutation(1797)[:899]
    train = torch.from_numpy(load_digits().images[order]).float()[:, None] / 8 - 1
    found = Digits().read()
    write_images(tmp_path, found.splits, Digits.maximum, found.classes, Digits.source)
    data = build_data({"name": "digits"}, tmp_path)
    for step in range(3):
        index = torch.randint(899, (64,), generator=generator(0, "batch", step))
        drawn = generator(0, "batch", step)
        assert torch.equal(data.sample(64, drawn), train[index])
        # What a batch draws next is the same too.
        after = generator(0, "batch", step)
        torch.randint(899, (64,), generator=after)
        assert torch.equal(torch.randn(5, generator=drawn), torch.randn(5, generator=after))


def test_flips_mirror_half_of_the_images_and_keep_their_labels():
    images = np.zeros((2, 1, 2, 2), np.uint8)
    images[:, :, :, 1] = 255
    images[1] //= 5
    data = Images(images, np.array([0, 1]), flips=True)
    drawn, labels = data.draw(4000, generator(0, "test"))
    mirrored = drawn[:, 0, 0, 0] > drawn[:, 0, 0, 1]
    assert abs(mirrored.float().mean().item() - 0.5) < 0.03
    assert torch.equal(drawn[..., 0].amax((1, 2)) == 1, mirrored & (labels == 0))
    plain = Images(images, flips=False).sample(4000, generator(0, "test"))
    assert (plain[..., 0] == -1).all() and torch.equal(plain.amax((1, 2, 3)), drawn.amax((1, 2, 3)))


def test_bytes_become_numbers_between_minus_one_and_one():
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    drawn, labels = Images(every).draw(1, generator(0, "test"))
    assert labels is None and drawn.dtype == torch.float32
    assert torch.equal(drawn.flatten(), torch.arange(256) / 127.5 - 1)


def test_a_set_without_its_folder_is_named():
    with pytest.raises(ValueError, match=r"data: 'cifar10' is a set of images; give --images"):
        build_data({"name": "cifar10"})


def test_flips_reach_training_and_the_set_stays_mapped(tmp_path):
    found = Digits().read()
    write_images(tmp_path, found.splits, 16, 10, "drawn")
    data = build_data({"name": "mnist", "flips": True, "limit": None}, tmp_path)
    assert data.flips and isinstance(data.images, np.memmap)
    assert np.array_equal(data.labels, read_images(tmp_path).splits["train"].labels)


@pytest.mark.gpu
def test_a_gpu_holds_the_bytes_once_and_what_does_not_fit_gives_the_same_batches(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (500, 3, 8, 8), dtype=np.uint8)
    monkeypatch.setattr("ttfm.data.rows.CHUNK", 10_000)
    held, mapped = (Images(images, np.arange(500), flips=True) for _ in range(2))
    first, labels = held.draw(64, generator(0, "test", device="cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    second, again = mapped.draw(64, generator(0, "test", device="cuda"))
    assert torch.equal(first, second) and torch.equal(labels, again)
    assert first.is_cuda and labels.is_cuda
