"""Every way of training a teacher in miniature, through the steps of one DAG."""

import pytest
import yaml

from tests.workflow.project import ROOT, checkout, in_one_process, rows, write
from ttfm.data.sources import SOURCES

pytestmark = pytest.mark.workflow


def test_every_teacher_goes_through_the_workflow(tmp_path):
    config = yaml.safe_load((ROOT / "workflow" / "experiments" / "teachers.yaml").read_text())
    problems = config["problems"]
    assert {problem.get("source", {"name": "gaussian"})["name"] for problem in problems.values()} == set(SOURCES)
    for problem in problems.values():
        problem |= {"network": {"name": "mlp", "width": 16, "depth": 2}, "teacher": {"iterations": 10, "batch": 64}}
        problem["training"] = {"iterations": 5, "batch": 32, "probe_every": 5, "log_every": 5}
        problem["evaluation"] |= {"samples": 128, "steps": 8}
    config |= {"seeds": [0], "budgets": [1, 2]}
    folder = checkout(tmp_path / "project")
    in_one_process(folder, *write(folder, config))
    table = rows(folder / "results" / "teachers" / "metrics.csv")
    found = {(row["problem"], row["student"], row["steps"]): row for row in table if row["metric"] == "energy_distance"}
    for problem in problems:
        for who in (("itvm", "1"), ("itvm", "2"), ("teacher_euler", "2")):
            assert found[problem, *who]["status"] == "ok", found[problem, *who]
    # They are different teachers: no two of them send the same noise to the same points.
    values = [float(found[problem, "teacher_euler", "2"]["value"]) for problem in problems]
    assert len(set(values)) == len(problems)
    assert "Minibatch optimal transport" in (folder / "report" / "teachers" / "index.html").read_text(encoding="utf-8")
