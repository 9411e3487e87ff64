"""One made-up experiment, built once for all tests of reporting; one of its students is named to break markup."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reporting import synthetic
from ttfm.reporting import build, inputs
from ttfm.reporting.costs import summarise_costs
from ttfm.reporting.summary import summarise

AGAIN = """
import sys
from pathlib import Path
from tests.reporting import synthetic
from ttfm.reporting import build

folder = synthetic.write(Path(sys.argv[1]), hostile=True, measured=True)
build.write_figures(folder)
build.write_tables(folder)
build.write_page(folder, folder.parent / "index.html")
assert "torch" not in sys.modules
"""


@pytest.fixture(scope="session")
def second_build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen]]:
    """The same experiment, built again by another process while the other tests run."""
    folder = tmp_path_factory.mktemp("second") / "results" / "synthetic"
    command = [sys.executable, "-W", "error", "-c", AGAIN, str(folder)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
        yield folder, process


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory, second_build) -> Path:
    folder = synthetic.write(tmp_path_factory.mktemp("first") / "results" / "synthetic", hostile=True, measured=True)
    build.write_tables(folder)
    build.write_figures(folder)
    return folder


@pytest.fixture(scope="session")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The largest experiment that there is room for: 36 students; tables, figures and page."""
    folder = synthetic.write(tmp_path_factory.mktemp("field") / "results" / "synthetic", measured=True, many=True)
    build.write_tables(folder)
    build.write_figures(folder)
    build.write_page(folder, folder.parents[1] / "report" / "index.html")
    return folder


@pytest.fixture(scope="session")
def page(results: Path) -> Path:
    return build.write_page(results, results.parents[1] / "report" / "index.html")


@pytest.fixture(scope="session")
def data(results: Path) -> inputs.Results:
    return inputs.load(results)


@pytest.fixture(scope="session")
def experiment(data: inputs.Results) -> dict:
    return data.experiment


@pytest.fixture(scope="session")
def summary(data: inputs.Results):
    return summarise(data.metrics, data.experiment)


@pytest.fixture(scope="session")
def costs(data: inputs.Results):
    return summarise_costs(data.costs, data.experiment)
