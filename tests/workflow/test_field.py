"""The field in miniature: every loss of the package through the steps of one DAG."""

import json

import pytest
import yaml

from tests.workflow.project import ROOT, checkout, in_one_process, rows, write
from ttfm.losses import load_modules

pytestmark = pytest.mark.workflow


def test_every_loss_of_the_package_goes_through_the_workflow(tmp_path):
    folder = checkout(tmp_path / "project")
    config = yaml.safe_load((ROOT / "workflow" / "experiments" / "field.yaml").read_text())
    trained = {student["loss"] for student in config["students"].values()}
    # Teachers' losses are not students of the field.
    assert trained == {
        name for name, loss in load_modules().items() if name not in ("fm", "wcfm", "velocity_regression")
    }
    ring = config["problems"]["ring"]
    ring |= {"network": {"name": "mlp", "width": 16, "depth": 2}, "teacher": {"iterations": 10}}
    ring["training"] = {"iterations": 10, "batch": 32, "probe_every": 5, "log_every": 5}
    ring["evaluation"] |= {"samples": 128, "steps": 16}
    ring["trajectories"] = {"count": 64, "steps": 16, "kept": 9}
    config |= {"problems": {"ring": ring}, "seeds": [0], "budgets": [1, 2]}
    # Once each, beside the one that starts from another: the same loss with other options takes no other way.
    for name in ("boss-4",):
        del config["students"][name]
        ring["students"].pop(name, None)
    in_one_process(folder, *write(folder, config))
    results = folder / "results" / "field"
    table = rows(results / "metrics.csv")
    headline = {(row["student"], row["steps"]): row for row in table if row["metric"] == "energy_distance"}
    for student in config["students"]:
        for steps in ("1", "2"):
            assert headline[student, steps]["status"] == "ok", headline[student, steps]
    timing = {row["student"]: row for row in rows(results / "timing.csv")}
    assert set(timing) == set(config["students"])
    assert all(row["status"] == "ok" and float(row["relative"]) > 0 for row in timing.values())
    record = json.loads((results / "ring" / "cmt-meanflow" / "0" / "record.json").read_text())
    assert record["config"]["start"] == "cmt"
    page = (folder / "report" / "field" / "index.html").read_text(encoding="utf-8")
    assert all(title in page for title in ("BOSS", "FlowTurbo", "Shortcut", "CMT, then MeanFlow"))
