"""Rows of images: a value, or words that say why there is none, with N, split, network and quantisation."""

from __future__ import annotations

import numpy as np
import pytest

from ttfm.evaluation import paired, scores
from ttfm.evaluation.image_scoring import ImageScorer, Network, Reference
from ttfm.evaluation.sample_sets import SampleSets, Set

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (2, 150, 1, 8, 8), dtype=np.uint8)
SOLUTION = RNG.integers(0, 256, (150, 1, 8, 8), dtype=np.uint8)
FEATURES = RNG.standard_normal((2, 150, 64)).astype(np.float32)
METRICS = ("fd-digits", "kid-digits", "precision", "lpips-alex", "l2", "psnr")


def reference(split: str, seed: int) -> Reference:
    features = np.random.default_rng(seed).standard_normal((200, 64)).astype(np.float32)
    return Reference(scores.statistics(features), features[:180], split)


@pytest.fixture
def scorer():
    networks = {
        "digits-classifier": Network("digits-classifier 1234", reference("test", 1), reference("train", 2), FEATURES),
        "inception-v3-compat": Network("inception-v3-compat", missing="no weights"),
    }
    return ImageScorer(METRICS, networks, {"alex": "no trunk"}, SOLUTION)


def rows(scorer, *sets):
    found = scorer.rows(SampleSets(PIXELS[: len(sets)], sets, 150))
    return {(row.get("steps"), row["metric"]): row for row in found}


def test_values_are_those_of_the_functions(scorer):
    found = rows(scorer, Set({"steps": 1}), Set({"steps": 2}))
    real = scorer.networks["digits-classifier"].reference
    for index, steps in enumerate((1, 2)):
        values = {name: found[steps, name].get("value") for name in METRICS}
        fitted = scores.statistics(FEATURES[index])
        assert values["fd-digits"] == scores.frechet_from_statistics(fitted, real.statistics)
        assert values["kid-digits"] == scores.kid(FEATURES[index], real.features)
        assert values["l2"] == paired.image_l2(PIXELS[index], SOLUTION)
        assert values["psnr"] == paired.psnr(PIXELS[index], SOLUTION)
    about = {key: found[1, "fd-digits"][key] for key in ("N", "split", "extractor")}
    assert about == {"N": 150, "split": "test", "extractor": "digits-classifier 1234 uint8"}
    assert found[1, "l2"]["extractor"] == "uint8" and found[1, "l2"]["split"] == "-"


def test_what_cannot_be_had_is_left_out_with_its_reason(scorer):
    found = rows(scorer, Set({"steps": 1}))
    for metric, reason in (("precision", "no weights"), ("lpips-alex", "no trunk")):
        assert (found[1, metric]["status"], found[1, metric]["reason"]) == ("skipped", reason)
        assert "value" not in found[1, metric]


def test_failed_and_off_path_sets_say_so(scorer):
    found = rows(scorer, Set({"steps": 1}, failed="it diverged"), Set({"steps": 2}, off_path="it left"))
    assert {found[1, name]["status"] for name in ("fd-digits", "kid-digits", "l2", "psnr")} == {"failed"}
    assert found[1, "l2"]["reason"] == "it diverged"
    assert {found[2, name]["reason"] for name in ("l2", "psnr")} == {"it left"}
    assert "value" in found[2, "fd-digits"]


def test_the_teachers_own_images_have_no_ratio(scorer):
    scorer = ImageScorer(METRICS, scorer.networks, {"alex": "no trunk"}, PIXELS[0])
    found = rows(scorer, Set({"student": "teacher"}, exact=True))
    assert found[None, "l2"]["value"] == 0
    assert found[None, "psnr"]["status"] == "skipped" and "themselves" in found[None, "psnr"]["reason"]


def test_too_few_images_are_a_failed_row(scorer):
    few = Network("digits-classifier", reference("test", 1), reference("train", 2), FEATURES[:, :100])
    scorer = ImageScorer(("fd-digits",), {"digits-classifier": few}, {}, SOLUTION)
    row = rows(scorer, Set({"steps": 1}))[1, "fd-digits"]
    assert row["status"] == "failed" and "needs at least 128 samples, not 100" in row["reason"]


def test_snapshots_are_measured_by_the_headline_alone(scorer):
    found = rows(scorer, Set({"steps": 1}), Set({"steps": 2, "iteration": 5}, snapshot=True))
    assert [name for steps, name in found if steps == 2] == ["fd-digits"]
    assert found[2, "fd-digits"]["snapshot"] and found[2, "fd-digits"]["iteration"] == 5


def test_the_floor_is_real_images_against_real_ones(scorer):
    found = {row["metric"]: row for row in scorer.floor(150)}
    network = scorer.networks["digits-classifier"]
    expected = scores.frechet_from_statistics(network.floor.statistics, network.reference.statistics)
    assert found["fd-digits"]["value"] == expected and found["fd-digits"]["N"] == 200
    assert found["kid-digits"]["N"] == 180
    assert {row["student"] for row in found.values()} == {"data"}
    assert {found[name]["status"] for name in ("l2", "psnr", "lpips-alex", "precision")} == {"skipped"}
