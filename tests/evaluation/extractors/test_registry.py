"""What the planner knows of a network, what torch-fidelity knows, and that both paths give the same numbers."""

from __future__ import annotations

import importlib

import pytest
import torch_fidelity
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from tests.evaluation.extractors.fidelity import Bytes, registered
from ttfm.data import digits
from ttfm.evaluation import extractors, features, scores
from ttfm.evaluation.image_metrics import IMAGE_METRICS, NETWORKS
from ttfm.evaluation.quantisation import quantise


def test_every_network_of_a_metric_can_be_built_and_the_other_way_round():
    assert set(NETWORKS) == set(extractors.EXTRACTORS)
    assert {metric.extractor for metric in IMAGE_METRICS} - {""} == set(NETWORKS)


def test_the_extractors_are_registered_once_even_after_a_reload():
    reloaded = importlib.reload(extractors)
    for name, about in reloaded.EXTRACTORS.items():
        assert FEATURE_EXTRACTORS_REGISTRY[name] is about.network


@pytest.fixture
def doubled():
    with registered() as name:
        yield name


@pytest.mark.parametrize("subsets", [(898, 1), (100, 20)])
def test_torch_fidelitys_own_path_gives_the_same_numbers(classifier_file, doubled, subsets, monkeypatch):
    train, test = (quantise(digits.load(split)[0]).numpy()[:898] for split in ("train", "test"))
    size, count = subsets
    monkeypatch.setattr(scores, "KID_SUBSET_SIZE", size)
    monkeypatch.setattr(scores, "KID_SUBSETS", count)
    found = torch_fidelity.calculate_metrics(
        input1=Bytes(train),
        input2=Bytes(test),
        feature_extractor=doubled,
        feature_extractor_weights_path=str(classifier_file),
        fid=True,
        kid=True,
        kid_subset_size=size,
        kid_subsets=count,
        prc=True,
        rng_seed=0,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    a, b = (features.extract(pixels, "digits-classifier", classifier_file)["64"] for pixels in (train, test))
    assert scores.frechet_distance(a, b) == pytest.approx(found["frechet_inception_distance"], rel=1e-6, abs=1e-6)
    assert scores.kid(a, b) == pytest.approx(found["kernel_inception_distance_mean"], abs=1e-6)
    assert scores.precision_recall(a, b) == pytest.approx((found["precision"], found["recall"]), abs=1e-6)
