import torch

from ttfm.data import digits
from ttfm.data.arrays import write_images
from ttfm.data.densities import Checkerboard, Moons, Ring, Spirals
from ttfm.registry import build_data
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


def test_digits_draws_training_images_only(tmp_path):
    found = digits.Digits().read()
    write_images(tmp_path, found.splits, digits.Digits.maximum, found.classes, digits.Digits.source)
    drawn = build_data({"name": "digits"}, tmp_path).sample(50, generator(0, "test"))
    train = {image.numpy().tobytes() for image in digits.load("train")[0]}
    assert all(image.numpy().tobytes() in train for image in drawn)


def test_noise_belongs_to_the_index():
    long, short = indexed_noise(3, 3 * BLOCK + 7, (2,)), indexed_noise(3, BLOCK + 1, (2,))
    assert torch.equal(long[: BLOCK + 1], short)
    assert not torch.equal(long[:10], indexed_noise(4, 10, (2,)))
    assert not torch.equal(indexed_noise(3, 10, (2,), "renoise", 1), indexed_noise(3, 10, (2,), "renoise", 2))
    assert abs(long.mean().item()) < 0.1


def test_moons_are_two_arcs_that_mirror_each_other():
    data = Moons(radius=1.6, std=0.0001)
    points = data.sample(20_000, generator(0, "test"))
    assert points.mean(0).abs().max() < 0.03
    # Undo the shift of each arc's centre: every point lies on a circle about one of the two.
    centre = torch.tensor([0.5, 0.25]) * 1.6
    gap = torch.stack([(points + centre).norm(dim=1), (points - centre).norm(dim=1)]).sub(1.6).abs().amin(0)
    assert gap.max() < 0.01


def test_spirals_are_evenly_filled_arms():
    data = Spirals(turns=1.5, radius=2.0, std=0.0001)
    points = data.sample(40_000, generator(0, "test"))
    radius = points.norm(dim=1)
    assert abs(radius.max().item() - 2) < 0.01
    angle = torch.atan2(points[:, 1], points[:, 0])
    off = torch.remainder(2 * torch.pi * 1.5 * radius / 2 - angle, torch.pi)
    assert torch.minimum(off, torch.pi - off).max() < 0.05 / radius.min().clamp(min=0.02)
    # Even in the square of the radius, as along an Archimedean arm.
    assert abs((radius < 2**0.5).float().mean().item() - 0.5) < 0.01
