"""Training batches from stored latents."""

import numpy as np
import pytest
import torch

from ttfm.data.arrays import class_counts
from ttfm.data.latents import Latents, is_latents, read_latents, write_about, write_latents
from ttfm.registry import build_data
from ttfm.seeds import generator


def stored(folder, twins=1, parts=1, labels=None, counts=None):
    """Three images whose latents are their number, mirrored ones ten more; deviations are a tenth."""
    latents = np.zeros((twins, 3, parts, 2, 4, 4), np.float32)
    latents[:, :, 0] = (np.arange(3) + 10 * np.arange(twins)[:, None])[..., None, None, None]
    latents[:, :, 1:] = 0.1
    pieces = latents.reshape(-1, *latents.shape[2:])
    digests = write_latents(folder, (pieces[i : i + 2] for i in range(0, len(pieces), 2)), latents.shape, labels)
    write_about(folder, digests, counts or {}, name="tiny")
    return read_latents(folder)


def test_means_are_drawn_as_they_are_with_their_labels(tmp_path):
    data = stored(tmp_path, labels=np.array([0, 1, 1]))
    drawn, labels = data.draw(300, generator(0, "test"))
    assert drawn.shape == (300, 2, 4, 4) and drawn.dtype == torch.float32
    assert set(drawn.unique().tolist()) == {0.0, 1.0, 2.0}
    assert torch.equal(labels, drawn[:, 0, 0, 0].long().clamp(max=1)) and data.classes == 2
    assert is_latents(tmp_path) and isinstance(data.latents, np.memmap)
    again = build_data({"name": "digits"}, tmp_path)
    assert torch.equal(again.sample(300, generator(0, "test")), drawn)


def test_a_class_without_images_is_still_one(tmp_path):
    labels = np.array([0, 1, 1])
    assert stored(tmp_path, labels=labels, counts=class_counts(labels, 4)).classes == 4


def test_mirrored_twins_are_half_of_the_draws_and_posteriors_are_drawn_anew(tmp_path):
    data = stored(tmp_path, twins=2, parts=2)
    drawn, labels = data.draw(4000, generator(0, "test"))
    assert labels is None and data.classes == 0
    assert abs((drawn[:, 0, 0, 0] > 5).float().mean().item() - 0.5) < 0.03
    assert (drawn - drawn.round()).std().item() == pytest.approx(0.1, rel=0.02)
    assert not torch.equal(data.sample(64, generator(0, "a", 0)), data.sample(64, generator(0, "a", 1)))


def test_damaged_and_missing_files_are_named(tmp_path):
    stored(tmp_path)
    path = tmp_path / "train-latents.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"train-latents\.npy: damaged latents: expected sha256 \w{64}, found \w{64}"):
        read_latents(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=r"train-latents\.npy: missing; delete the folder"):
        read_latents(tmp_path)


def test_a_source_measures_latents(tmp_path):
    from ttfm.steps.common import source_noise

    stored(tmp_path)
    config = {"source": {"name": "norm_aligned", "scale": 1.0}, "data": {"name": "digits"}, "shape": [2, 4, 4]}
    noise = source_noise(config, 0, 500, "test", images=tmp_path)
    assert noise.square().mean().item() == pytest.approx(5 / 3, rel=0.1)


@pytest.mark.gpu
def test_a_gpu_holds_the_latents_and_what_does_not_fit_gives_the_same_batches(monkeypatch):
    latents = np.random.default_rng(0).normal(size=(2, 50, 2, 4, 8, 8)).astype(np.float32)
    held, mapped = (Latents(latents, np.arange(50)) for _ in range(2))
    first, labels = held.draw(64, generator(0, "test", device="cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    second, again = mapped.draw(64, generator(0, "test", device="cuda"))
    assert torch.equal(first, second) and torch.equal(labels, again) and first.is_cuda
