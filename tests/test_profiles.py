"""The profiles name rules that exist, and give each of them what it needs."""

import re
from pathlib import Path

import pytest
import yaml

PROFILES = sorted(Path("profiles").iterdir())
RULES = {
    name
    for path in Path("workflow/rules").glob("*.smk")
    for name in re.findall(r"^rule (\w+):", path.read_text(), re.M)
}
ON_GPU = {
    match[1]
    for path in Path("workflow/rules").glob("*.smk")
    for match in re.finditer(r"^rule (\w+):(?:(?!^rule ).)*?gpu=(?:1|RANKS)", path.read_text(), re.M | re.S)
}


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_a_profile_limits_gpus_and_names_rules_that_exist(profile):
    found = yaml.safe_load((profile / "config.yaml").read_text())
    assert found["resources"]["gpu"] >= 1
    assert found["default-resources"]["gpu"] == 0
    assert set(found.get("set-resources", {})) <= RULES


def test_every_rule_on_a_gpu_has_memory_and_time_of_its_own_under_the_gpu_profile():
    found = yaml.safe_load(Path("profiles/gpu/config.yaml").read_text())["set-resources"]
    assert {"teacher", "student", "sample", "features"} <= ON_GPU
    assert set(found) >= ON_GPU
    assert all({"mem_mb", "runtime"} <= set(found[rule]) for rule in ON_GPU)
