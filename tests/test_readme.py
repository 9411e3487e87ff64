"""The README's numbers are the published ones."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "results" / "published"


def test_the_headline_tables_are_the_measured_ones():
    readme = (ROOT / "README.md").read_text()
    problems = json.loads((PUBLISHED / "default" / "provenance.json").read_text())["config"]["problems"]
    headlines = {name: about["evaluation"]["headline"] for name, about in problems.items()}
    files = [PUBLISHED / "default" / f"{name}--{metric}.md" for name, metric in headlines.items()]
    assert len(files) == 3
    for path in files:
        table = [line for line in path.read_text().splitlines() if line.startswith("|")]
        assert len(table) > 5
        assert "\n".join(table) in readme


@pytest.mark.parametrize("experiment", ["default"])
def test_published_numbers_have_their_provenance(experiment):
    found = json.loads((PUBLISHED / experiment / "provenance.json").read_text())
    assert found["commits"]
    assert "unknown" not in found["commits"]
    assert not found["dirty"]
    assert found["devices"]
    assert found["versions"]["torch"]
