"""Every experiment that ships can be planned as it would be run."""

import re

import pytest

from tests.workflow.project import ROOT, checkout, snakemake

pytestmark = pytest.mark.workflow

EXPERIMENTS = sorted(path.stem for path in (ROOT / "workflow" / "experiments").glob("*.yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("experiments") / "project")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_dry_run_plans_all_of_it(folder, name):
    experiment = f"workflow/experiments/{name}.yaml"
    printed = snakemake(folder, "--configfile", experiment, "--dry-run")
    jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE)}
    assert jobs["page"] == 1
    # A rule that trains several seeds at once is named by them.
    trained = sum(
        count * max(1, len(rule.split("_")) - 1) for rule, count in jobs.items() if re.fullmatch(r"student[_\d]*", rule)
    )
    runs = list((folder / "results" / name / "plan").glob("*/*/*/student.json"))
    assert trained == len(runs) > 0
    # The header promises what the rules ask for.
    text = (folder / experiment).read_text()
    asked = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: .*\bmem_mb=(\d+), .*\bruntime=(\d+)", printed, re.M)
    assert {rule for rule, _, _ in asked} == jobs.keys() - {"all", "total"}
    promised = re.search(r"(\d+) GB (?:of host memory )?a job", text)[1]
    assert max(int(memory) for _, memory, _ in asked) == 1000 * int(promised)
