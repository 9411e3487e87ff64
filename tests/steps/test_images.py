"""The images step, and what the steps after it make of a set of images."""

import json

import numpy as np
import pytest
from PIL import Image

from ttfm.cli import main
from ttfm.data.arrays import Split, read_images, write_images


@pytest.fixture
def planned(tmp_path):
    """The configuration of a folder of twelve images, and the step's command."""
    for index in range(12):
        pixels = np.random.default_rng(index).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / f"{index:02}.png")
    data = {"name": "folder", "path": str(tmp_path / "set"), "size": 8}
    config = {"experiment": "e", "problem": "p", "data": data, "assets": None}
    (tmp_path / "images.json").write_text(json.dumps(config))
    step = f"images --config {tmp_path}/images.json --out {tmp_path}/images --record {tmp_path}/record.json"
    return tmp_path, step.split()


def test_a_folder_becomes_checked_bytes_with_a_record(planned):
    folder, step = planned
    main(step)
    found = read_images(folder / "images")
    assert {name: split.images.shape for name, split in found.splits.items()} == {
        "train": (11, 3, 8, 8),
        "test": (1, 3, 8, 8),
    }
    assert (found.maximum, found.classes) == (255, 0)
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "ok" and record["counts"] == {"train": 11, "test": 1}
    assert record["notes"]["left_out"] == {}
    assert {path.name for path in (folder / "images").iterdir()} == {
        "about.json",
        "train-images.npy",
        "test-images.npy",
    }
    before = {path: path.read_bytes() for path in (folder / "images").iterdir()}
    main(step)
    assert before == {path: path.read_bytes() for path in (folder / "images").iterdir()}


def test_bad_images_are_one_message_and_lose_nothing_finished(planned, capsys):
    folder, step = planned
    main(step)
    (folder / "set" / "03.png").write_bytes(b"cut off")
    with pytest.raises(SystemExit):
        main(step)
    message = capsys.readouterr().err
    assert "1 image file cannot be used: 03.png (cannot identify image file" in message
    assert "Traceback" not in message
    assert len(read_images(folder / "images").splits["train"].images) == 11
    assert not (folder / "images" / ".decoding").exists()


def test_a_missing_array_is_named(planned):
    folder, step = planned
    main(step)
    (folder / "images" / "test-images.npy").unlink()
    with pytest.raises(
        ValueError, match=r"test-images\.npy: missing; delete the folder and run the same command again"
    ):
        read_images(folder / "images")


def test_a_gaussian_source_reads_no_images(tmp_path):
    from ttfm.seeds import indexed_noise
    from ttfm.steps.common import source_noise

    config = {"source": {"name": "gaussian"}, "data": {"name": "cifar10"}, "shape": [3, 4, 4]}
    assert source_noise(config, 0, 5, "test").equal(indexed_noise(0, 5, (3, 4, 4), "test"))
    config["source"] = {"name": "norm_aligned", "scale": 1.0}
    with pytest.raises(ValueError, match="'cifar10' is a set of images; give --images"):
        source_noise(config, 0, 5, "test")
    bytes_ = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
    write_images(tmp_path, {"train": Split(bytes_), "test": Split(bytes_)}, 255, 0, "drawn")
    noise = source_noise(config, 0, 500, "test", images=tmp_path)
    assert noise.square().mean().item() == pytest.approx(np.square(bytes_ / 127.5 - 1).mean(), rel=0.1)
