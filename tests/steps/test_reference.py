"""What the reference step says of sets that are too small."""

import argparse
import json

import numpy as np
import pytest

from ttfm.data.arrays import Split, write_images
from ttfm.files import read_arrays
from ttfm.steps import reference

LEAST = {"digits-classifier": {"fd-digits": 4, "kid-digits": 2}}


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Runs the step on so many images of each split, of which the network takes the first two numbers as features."""

    def run(test, train):
        draw = np.random.default_rng(0).integers
        splits = {
            name: Split(draw(0, 256, (count, 1, 4, 4), dtype=np.uint8))
            for name, count in (("train", train), ("test", test))
        }
        write_images(tmp_path / "images", splits, 255, 0, "drawn")
        config = {"problem": "digits", "device": "cpu", "least": LEAST, "data": {"name": "folder", "path": "my/set"}}
        config |= {"evaluation": {"reference": "test", "samples": 3}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        paths = {"config": "config.json", "images": "images", "out": "out.npz", "record": "record.json"}
        given = {name: tmp_path / path for name, path in paths.items()}
        reference.run(argparse.Namespace(**given, extractor="digits-classifier", latents=None, cache=None))
        return read_arrays(tmp_path / "out.npz")

    taken = lambda pixels, *_: ({"64": pixels.reshape(len(pixels), -1)[:, :2].astype(np.float32)}, "")  # noqa: E731
    monkeypatch.setattr(reference, "identity", lambda arguments: ("digits-classifier 01234567", ""))
    monkeypatch.setattr(reference, "extracted", taken)
    monkeypatch.setattr(
        "ttfm.evaluation.extractors.EXTRACTORS", {"digits-classifier": argparse.Namespace(layers=["64"])}
    )
    return run


def test_a_split_with_too_few_images_is_named_with_the_metric_that_needs_more(step):
    with pytest.raises(ValueError) as error:
        step(test=3, train=9)
    assert str(error.value) == (
        "problems.digits: the test split of 'my/set' has 3 images, and 'fd-digits' needs at least 4; add images, or "
        "leave the metric out of evaluation.metrics"
    )


def test_the_floor_is_left_out_where_the_other_split_has_one_image(step, caplog):
    found = step(test=5, train=1)
    assert int(found["reference_count"]) == 5
    assert not [name for name in found if name.startswith("floor")]
    assert "the floor is left out: the other split has 1 image" in caplog.text


def test_the_floor_has_as_many_images_as_are_generated(step):
    found = step(test=5, train=9)
    assert int(found["floor_count"]) == 3 and len(found["reference_features"]) == 5
