"""The README's numbers are the published ones."""

import json
import re
from pathlib import Path

import pytest

from ttfm.losses import load_modules

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


def test_the_table_of_losses_has_every_one_of_the_package():
    lines = (ROOT / "README.md").read_text().splitlines()
    start = lines.index("| family | losses |")
    table = " ".join(lines[start + 2 : lines.index("", start)])
    # Each once; what is written in another sentence of the row, an option say, is no name of a loss.
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(
        name for name, loss in load_modules().items() if loss.__module__.startswith("ttfm.")
    )


@pytest.mark.parametrize("experiment", ["default"])
def test_published_numbers_have_their_provenance(experiment):
    found = json.loads((PUBLISHED / experiment / "provenance.json").read_text())
    assert found["commits"]
    assert "unknown" not in found["commits"]
    assert not found["dirty"]
    assert found["devices"]
    assert found["versions"]["torch"]
