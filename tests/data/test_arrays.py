import numpy as np
import pytest

from ttfm.data.arrays import Split, read_images, write_images


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)


def test_what_is_written_is_read_back_from_disk(tmp_path):
    train, test = Split(images(6), np.arange(6) % 2), Split(images(4, seed=1))
    write_images(tmp_path / "set", {"train": train, "test": test}, maximum=255, classes=2, source="drawn")
    found = read_images(tmp_path / "set")
    assert np.array_equal(found.splits["train"].images, train.images)
    assert np.array_equal(found.splits["train"].labels, train.labels)
    assert found.splits["test"].labels is None
    assert isinstance(found.splits["test"].images, np.memmap)
    assert (found.maximum, found.classes, found.about["source"]) == (255, 2, "drawn")


def test_a_damaged_file_is_named_with_both_digests(tmp_path):
    write_images(tmp_path, {"train": Split(images(6))}, 255, 0, "drawn")
    path = tmp_path / "train-images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"train-images.npy: damaged images: expected sha256 \w{64}, found \w{64}"):
        read_images(tmp_path)


@pytest.mark.parametrize("split", [Split(images(2).astype(float)), Split(images(2)[0]), Split(images(2), np.arange(3))])
def test_other_arrays_are_refused(tmp_path, split):
    with pytest.raises(ValueError, match="train: "):
        write_images(tmp_path, {"train": split}, 255, 0, "drawn")
