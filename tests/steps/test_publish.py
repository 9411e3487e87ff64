"""What is kept of an experiment."""

import argparse
import json

import pandas as pd
import pytest

from tests.reporting import synthetic
from ttfm.reporting import build
from ttfm.steps import publish


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = synthetic.write(tmp_path_factory.mktemp("kept") / "results" / "synthetic", measured=True)
    plan = json.loads((folder / "experiment.json").read_text())
    asked = {"ring": ("endpoint_rmse", []), "digits": ("fd-digits", ["lpips-squeeze", "fd-digits", "l2"])}
    plan["config"]["problems"] = {
        name: {"evaluation": {"headline": headline, "metrics": metrics}} for name, (headline, metrics) in asked.items()
    }
    (folder / "experiment.json").write_text(json.dumps(plan))
    build.write_tables(folder)
    return folder


def test_tables_of_all_metrics_asked_for_and_curves_of_images_are_kept(results, tmp_path):
    publish.run(argparse.Namespace(results=results, out=tmp_path / "kept", figure=[]))
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    tables = {name for name in kept if "--" in name}
    assert tables == {
        "ring--endpoint_rmse.md",
        *(f"digits--{name}.md" for name in ("fd-digits", "lpips-squeeze", "l2")),
    }
    assert kept - tables == {
        *(name.rpartition("/")[2] for name in publish.KEPT),
        *("convergence.csv", "curves.csv", "provenance.json"),
    }
    found, whole = (pd.read_csv(path / "curves.csv") for path in (tmp_path / "kept", results))
    pd.testing.assert_frame_equal(found, whole[whole["problem"] == "digits"].reset_index(drop=True))


def test_without_images_no_curves_are_kept(results, tmp_path):
    plan = json.loads((results / "experiment.json").read_text())
    points = json.loads(json.dumps(plan))
    for problems in (points["problems"], points["config"]["problems"]):
        del problems["digits"]
    (results / "experiment.json").write_text(json.dumps(points))
    try:
        publish.run(argparse.Namespace(results=results, out=tmp_path / "kept", figure=[]))
    finally:
        (results / "experiment.json").write_text(json.dumps(plan))
    assert not (tmp_path / "kept" / "curves.csv").exists()
