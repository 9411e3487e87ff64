"""Generated images have the classes of the training images, as often."""

import argparse
import json

import numpy as np
import pytest
import torch
from PIL import Image

from ttfm.data.arrays import write_images
from ttfm.data.folder import Folder
from ttfm.files import write_arrays
from ttfm.flow.labels import current
from ttfm.losses import load_modules
from ttfm.steps.common import labelled, read_config
from ttfm.steps.stored import load_trajectories


def prepared(tmp_path, counts, classes=2):
    """A config and a folder of images that were read from ``counts`` training files of each class."""
    for split, number in (("train", counts), ("test", (1, 1))):
        for name, files in zip(("many", "few"), number, strict=True):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for index in range(files):
                pixels = np.full((8, 8, 3), index, dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "set" / split / name / f"{index}.png")
    found = Folder(str(tmp_path / "set"), size=8, labelled=True).read(None, tmp_path / "scratch")
    write_images(tmp_path / "images", found.splits, 255, found.classes, "drawn")
    (tmp_path / "config.json").write_text(json.dumps({"network": {"classes": classes} if classes else {}}))
    return read_config(tmp_path / "config.json", tmp_path / "images")


def test_nine_of_ten_in_training_are_nine_of_ten_of_the_generated(tmp_path):
    config = prepared(tmp_path, (18, 2))
    # Classes are in alphabetical order.
    assert config["class_counts"] == [2, 18]
    with labelled(config, 1000, "cpu"):
        whole = current(1000)
    assert abs(int((whole == 0).sum()) - 100) <= 1
    with labelled(config, 250, "cpu", first=750):
        assert torch.equal(current(250), whole[750:])
    write_arrays(tmp_path / "pairs.npz", {"x0": np.zeros((1000, 2)), "x1": np.zeros((1000, 2))})
    given = argparse.Namespace(pairs=tmp_path / "pairs.npz")
    stored = load_trajectories(given, load_modules()["reflow"](), "cpu", config)
    assert torch.equal(stored.labels, whole)


@pytest.mark.parametrize(("counts", "classes"), [((3, 3), 2), ((4, 2), 0)])
def test_equal_classes_and_networks_without_any_are_as_ever(tmp_path, counts, classes):
    config = prepared(tmp_path, counts, classes)
    assert "class_counts" not in config
    with labelled(config, 5, "cpu"):
        labels = current(5)
    assert labels is None if not classes else labels.tolist() == [0, 1, 0, 1, 0]
