"""The profiles limit what they lend, and rules say what they need."""

import re
from pathlib import Path

import pytest
import yaml

from tests.workflow.project import POINTS, checkout, snakemake, write

PROFILES = sorted(Path("profiles").iterdir())
ON_GPU = {
    match[1]: match[0]
    for path in Path("workflow/rules").glob("*.smk")
    for match in re.finditer(
        r"^rule (\w+):(?:(?!^rule ).)*?gpu=(?:1|RANKS)(?:(?!^rule ).)*", path.read_text(), re.M | re.S
    )
}


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_a_profile_limits_gpus(profile):
    found = yaml.safe_load((profile / "config.yaml").read_text())
    assert found["resources"]["gpu"] >= 1
    assert found["default-resources"]["gpu"] == 0


def test_every_rule_on_a_gpu_says_what_memory_and_time_it_needs():
    assert {"teacher", "student", "sample", "features"} <= set(ON_GPU)
    assert all("mem_mb=" in body and "runtime=" in body for body in ON_GPU.values())


def test_a_share_of_a_gpu_lets_more_jobs_run(tmp_path):
    """As Snakemake counts them, from the profile that lends one GPU."""
    folder = checkout(tmp_path / "project")
    arguments = write(folder, POINTS | {"gpu_share": 3})
    printed = snakemake(folder, "--workflow-profile", "profiles/gpu", *arguments, "--until", "data", "teacher")
    assert re.search(r"Provided resources: .*gpu\D+3\b", printed), printed
