"""Folders of images of all sorts."""

import logging

import numpy as np
import pytest
from PIL import Image

from ttfm.data.arrays import Split, write_images
from ttfm.data.decoding import Decoder
from ttfm.data.finding import DamagedData, DataUnavailable
from ttfm.data.folder import CelebAHQ, Folder
from ttfm.registry import build_data


def picture(path, size=(12, 10), mode="RGB", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"RGB": 3, "RGBA": 4, "LA": 2}.get(mode, 1)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    Image.fromarray(pixels.squeeze(), mode=None).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    for index in range(20):
        picture(tmp_path / "set" / f"{index:02}.png", seed=index)
    return tmp_path / "set"


def read(path, tmp_path, **options):
    return Folder(str(path), size=8, **options).read(None, tmp_path / "scratch")


def test_a_fixed_share_is_held_out(folder, tmp_path):
    found = read(folder, tmp_path, test_share=0.25)
    assert [split.images.shape for split in found.splits.values()] == [(15, 3, 8, 8), (5, 3, 8, 8)]
    assert found.splits["train"].labels is None and found.classes == 0
    everything = {image.tobytes() for split in found.splits.values() for image in split.images}
    assert len(everything) == 20
    again = read(folder, tmp_path / "again", test_share=0.25)
    assert np.array_equal(found.splits["test"].images, again.splits["test"].images)
    other = read(folder, tmp_path / "other", test_share=0.25, split_seed=1)
    assert not np.array_equal(found.splits["test"].images, other.splits["test"].images)
    assert len(read(folder, tmp_path / "few", limit=3).splits["train"].images) == 3


def test_the_centre_is_cropped_and_what_has_the_size_is_kept_to_the_byte(tmp_path):
    wide = picture(tmp_path / "set" / "train" / "a.png", (12, 8))
    tall = picture(tmp_path / "set" / "test" / "b.png", (8, 13))
    found = read(tmp_path / "set", tmp_path)
    assert np.array_equal(found.splits["train"].images[0], wide[:, 2:10].transpose(2, 0, 1))
    assert np.array_equal(found.splits["test"].images[0], tall[2:10].transpose(2, 0, 1))


def test_resizing_does_not_alias(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    for name in ("train", "test"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(stripes).save(tmp_path / "set" / name / "a.png")
    inside = read(tmp_path / "set", tmp_path, channels=1).splits["train"].images[0, 0, :, 1:-1].astype(int)
    assert abs(inside - 127.5).max() < 4


def test_other_kinds_are_converted_and_counted(folder, tmp_path, caplog):
    picture(folder / "20.png", mode="L")
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(folder / "21.png")
    with caplog.at_level(logging.INFO):
        found = read(folder, tmp_path)
    assert found.notes["converted"] == {"grey, repeated in three channels": 1, "transparent, laid on white": 1}
    assert "1 images were transparent, laid on white" in caplog.text
    white = [image for split in found.splits.values() for image in split.images if (image == 255).all()]
    assert len(white) == 1
    grey = read(folder, tmp_path / "grey", channels=1)
    assert grey.splits["train"].images.shape[1] == 1
    assert grey.notes["converted"]["in colour, made grey"] == 21


def test_unusable_files_are_all_counted_and_named_or_left_out(folder, tmp_path):
    (folder / "30.png").write_bytes(b"no image")
    (folder / "31.png").write_bytes((folder / "01.png").read_bytes()[:-60])
    picture(folder / "32.png", (20, 7))
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(folder / "33.png")
    with pytest.raises(DamagedData) as error:
        read(folder, tmp_path)
    message = str(error.value)
    assert "4 image files cannot be used" in message and "skip_damaged: true" in message
    found = read(folder, tmp_path / "left", skip_damaged=True)
    left = found.notes["left_out"]
    assert sorted(left) == ["30.png", "31.png", "32.png", "33.png"]
    assert "cannot identify image file '30.png'" in left["30.png"]
    assert left["32.png"] == "20 x 7 pixels are fewer than 8 x 8"
    assert left["33.png"].startswith("mode I;16: only images of 8 bits")
    assert sum(len(split.images) for split in found.splits.values()) == 20
    assert all((image != 0).any() for split in found.splits.values() for image in split.images)


def test_a_cut_photograph_and_damaged_exif_data_are_named(folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    # The second entry's type is none of its tag: Pillow fails when it puts the others together again.
    damaged = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\x1a\x01\x02\0\x04\0\0\0abcd\0\0\0\0"
    Image.fromarray(pixels).save(folder / "30.jpg", exif=damaged)
    Image.fromarray(pixels).save(folder / "31.jpg")
    (folder / "31.jpg").write_bytes((folder / "31.jpg").read_bytes()[:-1500])
    with pytest.raises(
        DamagedData, match=r"2 image files cannot be used: .*; repair or remove them, or leave"
    ) as error:
        read(folder, tmp_path)
    assert "30.jpg (damaged EXIF data (TypeError: " in str(error.value)
    assert "31.jpg (image file is truncated" in str(error.value)
    left = read(folder, tmp_path / "left", skip_damaged=True).notes["left_out"]
    assert sorted(left) == ["30.jpg", "31.jpg"]


def test_a_long_list_of_damage_is_cut(tmp_path):
    files = [tmp_path / f"{index}.png" for index in range(8)]
    for path in files:
        path.write_bytes(b"")
    decoder = Decoder(8, 3, skip_damaged=True)
    images, kept = decoder.decode(tmp_path, files, tmp_path / "out.npy")
    assert len(images) == len(kept) == 0
    with pytest.raises(
        DamagedData, match=r"8 image files cannot be used: 0\.png .* and 3 more; repair or remove them$"
    ):
        decoder.finish(tmp_path, {"train": Split(images)})


@pytest.mark.parametrize("images", [0, 1])
def test_too_few_images_are_an_error(tmp_path, images):
    (tmp_path / "set").mkdir()
    for index in range(images):
        picture(tmp_path / "set" / f"{index}.png")
    with pytest.raises(DataUnavailable, match=r"set: no images \(\.bmp .*\) for the train split; add images or name"):
        read(tmp_path / "set", tmp_path)


def test_a_missing_folder_is_named_with_where_was_looked(tmp_path, monkeypatch):
    monkeypatch.setenv("TTFM_ASSETS", str(tmp_path))
    with pytest.raises(
        DataUnavailable, match=rf"data\.path: there is no folder mine or {tmp_path}/mine or .*; correct"
    ):
        Folder("mine").read(None, tmp_path)
    with pytest.raises(DataUnavailable, match="there is no folder celebahq or"):
        CelebAHQ().read(None, tmp_path)
    picture(tmp_path / "data" / "mine" / "train" / "a.png")
    picture(tmp_path / "data" / "mine" / "test" / "a.png")
    assert len(Folder("mine", size=8).read(None, tmp_path / "scratch").splits["train"].images) == 1


def test_subfolders_are_classes_where_asked(tmp_path):
    for split, name in (("train", "cat"), ("train", "ant"), ("test", "cat")):
        picture(tmp_path / "set" / split / name / "deep" / "a.png")
    found = read(tmp_path / "set", tmp_path, labelled=True)
    assert (found.classes, found.notes["classes"]) == (2, ["ant", "cat"])
    assert found.splits["train"].labels.tolist() == [0, 1]
    assert found.splits["test"].labels.tolist() == [1]
    picture(tmp_path / "set" / "test" / "dog" / "a.png")
    with pytest.raises(DataUnavailable, match="class 'dog' of the test split has no training images"):
        read(tmp_path / "set", tmp_path, labelled=True)
    picture(tmp_path / "set" / "train" / "b.png")
    with pytest.raises(DataUnavailable, match=r"b\.png: labelled: true takes the class from a subfolder"):
        read(tmp_path / "set", tmp_path, labelled=True)


@pytest.mark.parametrize("splits", [["train"], ["train", "val"], ["Training", "Validation"]])
def test_folders_of_splits_are_not_taken_for_classes(tmp_path, splits):
    for split in splits:
        for index in range(4):
            picture(tmp_path / "set" / split / "cat" / f"{index}.png")
    taken = " and ".join(splits)
    with pytest.raises(
        DataUnavailable, match=rf"set: labelled: true would take {taken} for classes; put .* named train and test, or"
    ):
        read(tmp_path / "set", tmp_path, labelled=True)
    assert read(tmp_path / "set", tmp_path).classes == 0


def test_a_class_may_be_called_train_among_others(tmp_path):
    for name in ("train", "car"):
        for index in range(4):
            picture(tmp_path / "set" / name / f"{index}.png")
    assert read(tmp_path / "set", tmp_path, labelled=True).notes["classes"] == ["car", "train"]


def test_a_limit_takes_some_of_every_class_the_same_every_time(tmp_path):
    for split, count in (("train", 10), ("test", 1)):
        for name in "abc":
            for index in range(count):
                picture(tmp_path / "set" / split / name / f"{index}.png", seed=index)
    found = read(tmp_path / "set", tmp_path, labelled=True, limit=15)
    assert np.bincount(found.splits["train"].labels).min() > 1
    again = read(tmp_path / "set", tmp_path / "again", labelled=True, limit=15)
    assert np.array_equal(found.splits["train"].labels, again.splits["train"].labels)
    assert np.array_equal(found.splits["train"].images, again.splits["train"].images)


def test_a_class_that_is_left_without_images_is_still_one(tmp_path):
    for split in ("train", "test"):
        for name in "abc":
            picture(tmp_path / "set" / split / name / "0.png")
    (tmp_path / "set" / "train" / "c" / "0.png").write_bytes(b"no image")
    found = read(tmp_path / "set", tmp_path, labelled=True, skip_damaged=True)
    write_images(tmp_path / "images", found.splits, 255, found.classes, "drawn")
    data = build_data({"name": "folder", "path": "-", "labelled": True}, tmp_path / "images")
    assert data.labels.tolist() == [0, 1] and data.classes == 3


def test_celeba_hq_has_256_pixels(tmp_path):
    for index in range(4):
        picture(tmp_path / "celebahq" / f"{index}.png", (260, 258), seed=index)
    found = CelebAHQ().read(str(tmp_path), tmp_path / "scratch")
    assert [split.images.shape for split in found.splits.values()] == [(3, 3, 256, 256), (1, 3, 256, 256)]
