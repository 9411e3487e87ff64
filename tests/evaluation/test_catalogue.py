from __future__ import annotations

import subprocess
import sys

from ttfm.evaluation.catalogue import METRICS, names


def test_every_metric_of_a_kind_is_listed_in_display_order():
    defects = ["semigroup_defect", "tangent_defect"]
    described = ["straightness", "transport_cost", "jacobian_asymmetry"]
    assert names("points") == ["energy_distance", "sliced_w2", "mmd", "endpoint_rmse", *defects, *described]
    assert names("images") == ["fd-digits", "kid-digits", "lpips-squeeze", "l2", *defects, *described]


def test_entries_are_complete_and_keyed_by_their_own_name():
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.title and metric.description.endswith(".")
    described = {"straightness", "transport_cost", "jacobian_asymmetry"}
    assert {name for name, metric in METRICS.items() if not metric.ranked} == described
    assert {name for name, metric in METRICS.items() if not metric.depends_on_steps} == {
        "semigroup_defect",
        "tangent_defect",
        *described,
    }
    assert {name for name, metric in METRICS.items() if metric.signed} == {"mmd", "kid-digits"}


def test_the_catalogue_imports_without_torch():
    code = "import sys, ttfm.evaluation.catalogue; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
