"""CelebA in torchvision's layout."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from ttfm.data import celeba
from ttfm.data.celeba import CelebA
from ttfm.data.finding import DamagedData, DataUnavailable


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    parts = [0, 2, 1, 0, 2, 0]
    for index in range(len(parts)):
        image = np.zeros((218, 178, 3), np.uint8)
        # All but the central 140 x 140 is white.
        image[:] = 255
        image[39:179, 19:159] = 10 * index
        Image.fromarray(image).save(folder / "img_align_celeba" / f"{index:06}.png")
    rows = "".join(f"{index:06}.png {part}\n" for index, part in enumerate(parts))
    (folder / celeba.PARTITION).write_text(rows)
    monkeypatch.setattr(celeba, "PARTITION_MD5", hashlib.md5(rows.encode()).hexdigest())
    return tmp_path, folder


def test_the_published_splits_and_the_centre_of_each_face(made):
    assets, _ = made
    found = CelebA(size=32).read(str(assets), assets / "scratch")
    train, test = found.splits["train"].images, found.splits["test"].images
    assert train.shape == (3, 3, 32, 32) and test.shape == (2, 3, 32, 32)
    assert [np.unique(image).tolist() for image in (*train, *test)] == [[0], [30], [50], [10], [40]]
    assert len(CelebA(size=32, limit=1).read(str(assets), assets / "scratch").splits["train"].images) == 1


def test_what_is_missing_or_damaged_is_named(made):
    assets, folder = made
    (folder / "img_align_celeba" / "000003.png").unlink()
    with pytest.raises(DamagedData, match=r"1 image file cannot be used: 000003\.png \(.*No such file"):
        CelebA().read(str(assets), assets / "scratch")
    Image.new("RGB", (178, 100)).save(folder / "img_align_celeba" / "000003.png")
    with pytest.raises(DamagedData, match=r"000003\.png \(178 x 100 pixels are fewer than 140 x 140\)"):
        CelebA().read(str(assets), assets / "scratch")
    found = CelebA(skip_damaged=True).read(str(assets), assets / "scratch")
    assert list(found.notes["left_out"]) == ["000003.png"] and len(found.splits["train"].images) == 2
    (folder / celeba.PARTITION).write_text("000000.png 0\n")
    with pytest.raises(DamagedData, match=r"list_eval_partition\.txt: damaged: expected md5"):
        CelebA().read(str(assets), assets / "scratch")
    (folder / celeba.PARTITION).unlink()
    with pytest.raises(DamagedData, match=r"list_eval_partition\.txt: missing"):
        CelebA().read(str(assets), assets / "scratch")


def test_without_the_folder_it_says_what_to_put_where(tmp_path):
    with pytest.raises(DataUnavailable, match=r"CelebA: no celeba/img_align_celeba in .*img_align_celeba\.zip"):
        CelebA().read(str(tmp_path), tmp_path)
