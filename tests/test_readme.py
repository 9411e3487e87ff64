"""The README's numbers are the published ones."""

import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from ttfm.losses import load_modules

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "results" / "published"
EXPERIMENTS = {path.parent.name for path in PUBLISHED.glob("*/summary.csv")}


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


def sections() -> Iterator[tuple[str, str]]:
    """Each section of the README that shows one published experiment: its folder's name and its text."""
    for text in re.split(r"^#{2,3} ", (ROOT / "README.md").read_text(), flags=re.M):
        folders = set(re.findall(r"results/published/([\w-]+)\)", text))
        if len(folders) == 1 and EXPERIMENTS.intersection(folders):
            yield folders.pop(), text


def measured(experiment: str) -> set[tuple[str, str]]:
    """Every mean and half-width of an experiment, in units of one and of a thousandth, with 0 to 5 decimals."""
    found = set()
    for name in ("summary.csv", "convergence.csv"):
        if (PUBLISHED / experiment / name).exists():
            table = pd.read_csv(PUBLISHED / experiment / name)
            for mean, ci in table.loc[table["ci"].notna(), ["mean", "ci"]].itertuples(index=False):
                for scale, digits in product((1, 1000), range(6)):
                    found.add((f"{mean * scale:.{digits}f}", f"{ci * scale:.{digits}f}"))
    return found


def test_every_mean_of_a_published_experiment_is_one_that_was_measured():
    seen = {}
    for experiment, text in sections():
        cells = [cell for line in text.splitlines() if line.startswith("|") for cell in line.split("|")]
        numbers = [number for cell in cells for number in re.findall(r"([\d.]+) ± ([\d.]+)", cell)]
        known = measured(experiment)
        assert not [f"{mean} ± {ci}" for mean, ci in numbers if (mean, ci) not in known], experiment
        seen[experiment] = len(numbers)
    assert set(seen) == EXPERIMENTS
    assert all(seen.values())


def test_every_section_names_the_commit_that_its_numbers_stem_from():
    for experiment, text in sections():
        commits = json.loads((PUBLISHED / experiment / "provenance.json").read_text())["commits"]
        assert any(f"`{commit[:12]}`" in text for commit in commits), experiment


@pytest.mark.parametrize("experiment", sorted(EXPERIMENTS))
def test_published_numbers_have_their_provenance(experiment):
    found = json.loads((PUBLISHED / experiment / "provenance.json").read_text())
    assert found["commits"]
    assert "unknown" not in found["commits"]
    assert not found["dirty"]
    assert found["devices"]
    assert found["versions"]["torch"]
