"""One made-up experiment, built once for all tests of reporting; one of its students is named to break markup."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from tests.reporting import synthetic
from ttfm.reporting import build, inputs
from ttfm.reporting.costs import summarise_costs
from ttfm.reporting.summary import summarise


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Its folder, with tables, figures and page; nobody writes there."""
    root = tmp_path_factory.getbasetemp()
    # The workers of pytest-xdist share the folder above their own, and the first of them builds for all.
    root = root / "shared" if worker_id == "master" else root.parent / "shared"
    root.mkdir(exist_ok=True)
    folder, done = root / "results" / "synthetic", root / "done"
    with FileLock(root / "lock"):
        if not done.exists():
            synthetic.write(folder, hostile=True, measured=True)
            build.write_tables(folder)
            build.write_figures(folder)
            build.write_page(folder, root / "report" / "index.html")
            done.touch()
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
    return results.parents[1] / "report" / "index.html"


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
