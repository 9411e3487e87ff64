"""Generated images on disk: what is written is what is read, whatever the pieces, and what is no image says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ttfm.evaluation.quantisation import quantise
from ttfm.evaluation.sample_sets import Set, pieces_of, read_sets, write_sets

SHAPE = (10, 1, 4, 4)
SAMPLES = torch.rand(*SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def make(samples: torch.Tensor):
    return lambda start, end: samples[start:end]


def written(tmp_path, *sets, size=4):
    write_sets(tmp_path / "images.npy", tmp_path / "images.json", sets, SHAPE, size, scale=0.3)
    return read_sets(tmp_path / "images.npy", tmp_path / "images.json")


@pytest.mark.parametrize("size", [3, 4, 10, 99])
def test_bytes_and_index_come_back_whatever_the_pieces(tmp_path, size):
    entries = (Set({"student": "a", "steps": 1}), Set({"steps": 2}, off_path="it left"), Set({}, exact=True))
    makers = (make(SAMPLES), make(-SAMPLES), pieces_of(quantise(SAMPLES).numpy()))
    found = written(tmp_path, *zip(entries, makers, strict=True), size=size)
    assert found.sets == entries and found.count == 10
    np.testing.assert_array_equal(found.images[0], quantise(SAMPLES))
    np.testing.assert_array_equal(found.images[1], quantise(-SAMPLES))
    np.testing.assert_array_equal(found.images[2], found.images[0])
    assert isinstance(found.images, np.memmap)


def test_what_is_no_image_has_failed_and_the_rest_has_not(tmp_path):
    broken = SAMPLES.clone()
    broken[5, 0, 0, 0] = float("nan")
    sets = [(Set({"steps": k}), make(x)) for k, x in enumerate((broken, 100 * SAMPLES, SAMPLES))]
    found = written(tmp_path, *sets, (Set({}, failed="no training"), None))
    reasons = [entry.failed for entry in found.sets]
    assert reasons[0] == "1 of 4 samples are not finite"
    assert reasons[1].startswith("diverged: the samples' root mean square is")
    assert reasons[2:] == ["", "no training"]
    assert not found.images[0].any() and not found.images[1].any() and not found.images[3].any()
    assert found.images[2].any()


def test_a_damaged_file_is_named_with_both_digests(tmp_path):
    written(tmp_path, (Set({}), make(SAMPLES)))
    path = tmp_path / "images.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"images\.npy: damaged images: expected sha256 \w{64}, found \w{64}"):
        read_sets(path, tmp_path / "images.json")


def test_samples_that_are_no_images_are_decoded_and_bytes_are_left_alone(tmp_path):
    latents = torch.rand(10, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    decode = lambda z: z.repeat_interleave(2, 2).repeat_interleave(2, 3)  # noqa: E731
    broken = latents.clone()
    broken[5] = 1e38
    sets = [(Set({}), make(latents)), (Set({}), pieces_of(quantise(SAMPLES).numpy())), (Set({}), make(broken))]
    write_sets(tmp_path / "i.npy", tmp_path / "i.json", sets, SHAPE, 4, 0.3, lambda z: decode(z) * 10)
    found = read_sets(tmp_path / "i.npy", tmp_path / "i.json")
    np.testing.assert_array_equal(found.images[0], quantise(decode(latents) * 10))
    np.testing.assert_array_equal(found.images[1], quantise(SAMPLES))
    assert [entry.failed for entry in found.sets] == ["", "", "1 of 4 samples are not finite"]
