from __future__ import annotations

import subprocess
import sys

from ttfm.evaluation.catalogue import METRICS, names
from ttfm.evaluation.image_metrics import DEFAULTS, default_metrics, nearest_of, samples_needed


def test_every_metric_of_a_kind_is_listed_in_display_order():
    defects = ["semigroup_defect", "tangent_defect"]
    described = ["straightness", "transport_cost", "jacobian_asymmetry"]
    assert names("points") == ["energy_distance", "sliced_w2", "mmd", "endpoint_rmse", *defects, *described]
    assert names("images", []) == [*defects, *described]
    assert names("images") == ["fd-digits", "kid-digits", "lpips-squeeze", "l2", "psnr", *defects, *described]
    asked = ["psnr", "fid", "l2", "fd-digits"]
    assert names("images", asked) == ["fd-digits", "fid", "l2", "psnr", *defects, *described]
    assert names("points", asked) == names("points")
    assert nearest_of(["l2", "copied-train", "nearest-train"]) == ["nearest-train", "copied-train"]


def test_entries_are_complete_and_keyed_by_their_own_name():
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.title and metric.description.endswith(".")
    described = {"straightness", "transport_cost", "jacobian_asymmetry", "nearest-train", "copied-train"}
    assert {name for name, metric in METRICS.items() if not metric.ranked} == described
    assert {name for name, metric in METRICS.items() if not metric.depends_on_steps} == {
        "semigroup_defect",
        "tangent_defect",
        *described,
    }
    assert {name for name, metric in METRICS.items() if metric.signed} - {"mmd"} == {
        name for name in METRICS if name.startswith("kid") or name == "fid-infinity"
    }
    assert {name for name, metric in METRICS.items() if metric.higher} == {
        "precision",
        "recall",
        "inception_score",
        "psnr",
    }


def test_only_the_network_of_2015_earns_the_name_fid():
    for name, metric in METRICS.items():
        earned = metric.extractor == "inception-v3-compat"
        assert earned == (name.split("-")[0] in {"fid", "precision", "recall", "inception_score"} or name == "kid")
        assert not metric.higher or metric.description.endswith("Higher is better.")


def test_defaults_are_metrics_that_the_number_of_samples_allows():
    for data in (*DEFAULTS, "folder"):
        assert set(default_metrics(data, 50_000)) <= set(METRICS)
    assert default_metrics("digits", 898) == ["fd-digits", "kid-digits", "lpips-squeeze", "l2", "psnr"]
    assert "fd-inception-keras-768" not in default_metrics("cifar10", 1535)
    assert "fd-inception-keras-768" in default_metrics("cifar10", 1536)
    assert samples_needed(METRICS["fid"]) == 4096 and samples_needed(METRICS["fid-infinity"]) == 8192


def test_the_catalogue_imports_without_torch():
    code = "import sys, ttfm.evaluation.catalogue; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
