"""The neighbours step: copies of training images show, whatever the rest of an experiment did."""

import csv
import json

import numpy as np
import pytest

from ttfm.cli import main
from ttfm.data.arrays import Split, write_images
from ttfm.evaluation.sample_sets import Set, pieces_of, write_sets
from ttfm.files import read_arrays

SHAPE = (3, 8, 8)


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def generated(folder, *sets):
    """Sets of 120 images as the sample step writes them; the command's words for them."""
    files = folder / "images.npy", folder / "images.json"
    made = [(about, None if pixels is None else pieces_of(pixels)) for about, pixels in sets]
    write_sets(*files, made, (120, *SHAPE), 64, 1.0)
    return f"--sets {files[0]} {files[1]}"


@pytest.fixture
def looked_up(tmp_path):
    """Runs the step on a student whose first 30 samples are copies, and one that failed; rows by student and metric."""

    def run(unseen=200, flips=True, turned=False):
        train = noise(300, 0)
        write_images(tmp_path / "images", {"train": Split(train), "test": Split(noise(unseen, 1))}, 255, 0, "noise")
        config = {"experiment": "e", "problem": "p", "device": "cpu", "budgets": [1, 4], "data": {"flips": flips}}
        config["metrics"] = ["nearest-train", "copied-train"]
        (tmp_path / "config.json").write_text(json.dumps(config))
        copies = train[:30, ..., ::-1] if turned else train[:30]
        mine = {"student": "mine", "loss": "itvm", "seed": 3}
        lost = mine | {"student": "lost"}
        sets = [
            generated(
                tmp_path / "baselines",
                (Set({"student": "teacher", "seed": 0}, exact=True), noise(120, 2)),
                (Set({"student": "teacher_euler", "seed": 0, "steps": 1}, "not looked at"), None),
                (Set({"student": "teacher_euler", "seed": 0, "steps": 4}), noise(120, 3)),
            ),
            generated(
                tmp_path / "mine",
                (Set(mine | {"steps": 1}), noise(120, 4)),
                (Set(mine | {"steps": 4, "iteration": 9}), np.concatenate([noise(90, 5), copies])),
                (Set(mine | {"steps": 4, "iteration": 5}, "not looked at", snapshot=True), None),
            ),
            generated(tmp_path / "lost", *((Set(lost | {"steps": budget}, "it broke"), None) for budget in (1, 4))),
        ]
        main(
            f"neighbours --config {tmp_path}/config.json --images {tmp_path}/images {' '.join(sets)} --metrics "
            f"{tmp_path}/metrics.csv --shown {tmp_path}/shown.npz --record {tmp_path}/record.json".split()
        )
        with (tmp_path / "metrics.csv").open(newline="") as file:
            rows = {(row["student"], row["metric"]): row for row in csv.DictReader(file)}
        return rows, read_arrays(tmp_path / "shown.npz"), train

    return run


@pytest.mark.parametrize("turned", [False, True])
def test_copies_show_beside_unseen_images_mirrored_ones_too(looked_up, turned):
    rows, _, _ = looked_up(turned=turned)
    assert float(rows["mine", "copied-train"]["value"]) == pytest.approx(30 / 120, abs=0.03)
    for honest in ("data", "teacher", "teacher_euler"):
        assert float(rows[honest, "copied-train"]["value"]) < 0.04
        assert float(rows[honest, "nearest-train"]["value"]) == pytest.approx(1, abs=0.01)
    assert rows["data", "nearest-train"]["N"] == "200"
    about = {key: rows["mine", "nearest-train"][key] for key in ("loss", "seed", "steps", "N", "split", "extractor")}
    assert about == {
        **{"loss": "itvm", "seed": "3", "steps": "", "N": "120", "split": "train"},
        "extractor": "pixels uint8, mirrored too",
    }


def test_mirrored_copies_are_none_where_training_did_not_flip(looked_up):
    rows, _, _ = looked_up(flips=False, turned=True)
    assert float(rows["mine", "copied-train"]["value"]) < 0.04
    assert rows["mine", "copied-train"]["extractor"] == "pixels uint8"


def test_a_failed_set_is_failed_rows_with_its_reason_and_no_arrays(looked_up):
    rows, shown, _ = looked_up()
    for metric in ("nearest-train", "copied-train"):
        assert (rows["lost", metric]["status"], rows["lost", metric]["reason"]) == ("failed", "it broke")
    assert len(rows) == 10 and not any(name.endswith("_lost") for name in shown)


def test_the_first_samples_and_the_closest_stand_beside_their_neighbours(looked_up):
    _, shown, train = looked_up()
    np.testing.assert_array_equal(shown["samples_mine"][:2], noise(90, 5)[:2])
    # The closest are copies, and their nearest training images are themselves.
    np.testing.assert_array_equal(shown["samples_mine"][2:], shown["nearest_mine"][2:, 0])
    assert (shown["distance_mine"][2:, 0] == 0).all() and (shown["distance_mine"][:2] > 0.3).all()
    assert shown["nearest_mine"].shape == (4, 3, *SHAPE) and shown["nearest_mine"].dtype == np.uint8
    assert {image.tobytes() for image in shown["nearest_mine"][2:, 0]} <= {image.tobytes() for image in train}
    assert set(shown) == {
        f"{part}_{name}"
        for part in ("samples", "nearest", "distance")
        for name in ("data", "teacher", "teacher_euler", "mine")
    }


def test_too_few_unseen_images_are_a_reason_and_no_failure(looked_up):
    rows, shown, _ = looked_up(unseen=20)
    told = {(row["status"], row["reason"]) for (name, _), row in rows.items() if name != "lost"}
    assert told == {
        ("skipped", "1 % of 20 unseen images is less than one; give more of them, or a larger share"),
    }
    assert "samples_mine" in shown
