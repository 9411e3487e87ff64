"""A real DAG with classes, a transformer and a teacher whose guidance adapts; copies are looked for; a run diverges."""

import json

import pytest

from tests.workflow.project import POINTS, checkout, in_one_process, rows, write

pytestmark = pytest.mark.workflow


def test_nearest_training_images_reach_the_table_and_the_page(tmp_path):
    folder = checkout(tmp_path / "project")
    config = json.loads(json.dumps(POINTS))
    config["name"] = "copies"
    config["students"] = {"itvm": {"loss": "itvm"}, "broken": {"loss": "cd", "training": {"lr": 1e30}}}
    config["problems"] = {
        "digits": {
            "title": "Digits",
            "data": {"name": "digits"},
            "network": {"name": "dit", "width": 16, "depth": 1, "heads": 2, "patch": 2, "classes": 10},
            "teacher": {"label_dropout": 0.25},
            "guidance": {"scale": 1.5, "interval": [0.1, 0.9], "schedule": "raag"},
            "training": {"iterations": 4, "batch": 8, "log_every": 2, "probe_every": 2, "ema": [0.9, 0.5]},
            "evaluation": {"samples": 128, "solver": "heun", "steps": 4, "metrics": ["fd-digits", "copied-train"]},
        }
    }
    in_one_process(folder, *write(folder, config))
    table = [row for row in rows(folder / "results/copies/metrics.csv") if row["metric"] == "copied-train"]
    assert {row["student"]: row["status"] for row in table} == {
        **dict.fromkeys(("data", "teacher", "teacher_euler", "itvm"), "ok"),
        "broken": "failed",
    }
    assert all(row["split"] == "train" and row["extractor"] == "pixels uint8" for row in table)
    assert "non-finite" in next(row["reason"] for row in table if row["student"] == "broken")
    averages = [row for row in rows(folder / "results/copies/snapshots.csv") if row["student"] == "itvm"]
    assert {(row["average"], row["steps"], row["status"]) for row in averages} == {
        (average, steps, "ok") for average in ("0.9", "0.5") for steps in ("1", "2")
    }
    assert averages[0]["value"] != averages[-1]["value"]
    main = {row["steps"]: row["value"] for row in rows(folder / "results/copies/metrics.csv")
            if (row["student"], row["metric"]) == ("itvm", "fd-digits")}  # fmt: skip
    assert {row["steps"]: row["value"] for row in averages if row["average"] == "0.9"} == main
    page = (folder / "report/copies/index.html").read_text(encoding="utf-8")
    assert "Averages of the weights" in page and "ITVM, 0.5" in page
    assert "Share of likely copies" in page and "training images nearest to it" in page
    assert (folder / "results/copies/figures/digits--neighbours.png").is_file()
