"""The profiles limit what they lend, and rules say what they need."""

import os
import re
from pathlib import Path

import pytest
import yaml

from tests.workflow.project import POINTS, checkout, snakemake, write
from ttfm.devices import visible_gpus

PROFILES = sorted(Path("profiles").iterdir())
RULES = [
    body
    for path in Path("workflow/rules").glob("*.smk")
    # Those of a group of seeds have a computed name and stand in a loop.
    for body in re.split(r"^ *rule(?: \w+)?:", path.read_text(), flags=re.M)[1:]
]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_a_profile_limits_gpus(profile):
    found = yaml.safe_load((profile / "config.yaml").read_text())
    assert found["default-resources"]["gpu"] == 0
    # That of one machine counts what is there.
    assert profile.name == "default" or found["resources"]["gpu"] >= 1


def test_every_rule_says_what_memory_and_time_it_needs():
    assert len(RULES) > 20 and sum(bool(re.search(r"gpu=(1|RANKS)", body)) for body in RULES) > 10
    assert all("mem_mb=" in body and "runtime=" in body for body in RULES)


def test_one_job_for_each_gpu_of_this_machine_is_the_default(tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nfor i in 0 1 2; do echo "GPU $i: Some card (UUID: GPU-$i)"; done\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    assert visible_gpus() == 2
    folder = checkout(tmp_path / "project")
    printed = snakemake(folder, *write(folder, POINTS | {"device": "auto"}), "--until", "data")
    assert re.findall(r"Provided resources: .*gpu\D+(\d+)\b", printed) == ["2"]


def test_without_a_gpu_there_is_no_limit(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert visible_gpus() == 0


def test_a_share_of_a_gpu_lets_more_jobs_run(tmp_path):
    """As Snakemake counts them, from the profile that lends one GPU."""
    folder = checkout(tmp_path / "project")
    arguments = write(folder, POINTS | {"gpu_share": 3})
    printed = snakemake(folder, "--workflow-profile", "profiles/gpu", *arguments, "--until", "data", "teacher")
    assert re.search(r"Provided resources: .*gpu\D+3\b", printed), printed
