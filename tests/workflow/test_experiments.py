"""Every experiment that ships can be planned as it would be run."""

import pytest

from tests.workflow.project import ROOT, checkout, snakemake

pytestmark = pytest.mark.workflow

ELSEWHERE = ("tiny", "field")
"""Run by other tests, as they are or in miniature."""
EXPERIMENTS = sorted(p.stem for p in (ROOT / "workflow" / "experiments").glob("*.yaml") if p.stem not in ELSEWHERE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("experiments") / "project")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_dry_run_plans_all_of_it(folder, name):
    experiment = f"workflow/experiments/{name}.yaml"
    printed = snakemake(folder, "--configfile", experiment, "--dry-run", "--quiet", "rules")
    assert "would be run" in printed or "This was a dry-run" in printed or "Job stats" in printed
    assert (folder / "results" / name / "experiment.json").is_file()
