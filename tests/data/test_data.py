import torch

from ttfm.data import digits
from ttfm.data.densities import Checkerboard, Ring
from ttfm.seeds import BLOCK, generator, indexed_noise


def test_ring_has_its_modes_radius_and_width():
    points = Ring(modes=8, radius=2.0, std=0.15).sample(20_000, generator(0, "test"))
    assert points.shape == (20_000, 2)
    angle = torch.atan2(points[:, 1], points[:, 0])
    mode = (angle / (2 * torch.pi / 8)).round().long() % 8
    assert (mode.bincount(minlength=8) / 20_000 - 1 / 8).abs().max() < 0.01
    distance = (points - Ring().means[mode]).square().sum(1).mean() / 2
    assert abs(distance.sqrt().item() - 0.15) < 0.005


def test_checkerboard_fills_alternate_cells_evenly():
    points = Checkerboard(cells=4, half_width=2.0).sample(40_000, generator(0, "test"))
    assert points.abs().max() <= 2
    cell = (points + 2).floor().long().clamp(0, 3)
    assert ((cell.sum(1) % 2) == 0).all()
    counts = (cell[:, 0] * 4 + cell[:, 1]).bincount(minlength=16)
    assert (counts > 0).sum() == 8
    assert (counts[counts > 0] / 40_000 - 1 / 8).abs().max() < 0.01


def test_digit_splits_are_disjoint_and_complete():
    from sklearn.datasets import load_digits

    (train, _), (test, labels) = digits.load("train"), digits.load("test")
    assert train.shape == (899, 1, 8, 8)
    assert test.shape == (898, 1, 8, 8)
    assert train.min() >= -1
    assert train.max() <= 1
    everything = torch.cat([train, test]).flatten(1)
    original = torch.from_numpy(load_digits().images).float().flatten(1) / 8 - 1
    assert torch.equal(everything.sort(dim=0).values, original.sort(dim=0).values)
    assert set(labels.tolist()) == set(range(10))


def test_digits_draws_training_images_only():
    data = digits.Digits()
    drawn = data.sample(50, generator(0, "test"))
    train = {image.numpy().tobytes() for image in digits.load("train")[0]}
    assert all(image.numpy().tobytes() in train for image in drawn)


def test_noise_belongs_to_the_index():
    long, short = indexed_noise(3, 3 * BLOCK + 7, (2,)), indexed_noise(3, BLOCK + 1, (2,))
    assert torch.equal(long[: BLOCK + 1], short)
    assert not torch.equal(long[:10], indexed_noise(4, 10, (2,)))
    assert not torch.equal(indexed_noise(3, 10, (2,), "renoise", 1), indexed_noise(3, 10, (2,), "renoise", 2))
    assert abs(long.mean().item()) < 0.1
