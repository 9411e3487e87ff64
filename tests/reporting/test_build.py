from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.reporting import synthetic
from ttfm.evaluation import catalogue
from ttfm.reporting import build, figures, inputs
from ttfm.reporting.names import PAGE_ALONE, PICTURES
from ttfm.reporting.provenance import provenance


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


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


def test_two_builds_are_equal_byte_for_byte(results, page, tmp_path):
    """Built by another process in another order: nothing may hang on hash seeds, dates, or what ran before."""
    again = tmp_path / "results" / "synthetic"
    command = [sys.executable, "-W", "error", "-c", AGAIN, str(again)]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    for part in ("tables", "figures"):
        first, second = contents(results / part), contents(again / part)
        assert list(first) == list(second) and first
        assert [name for name in first if first[name] != second[name]] == []
    assert (again.parent / "index.html").read_bytes() == page.read_bytes()


def imported(path: Path) -> set[str]:
    """The modules of reporting that a file of it names in its imports, wherever they stand."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ttfm.reporting"):
            module = node.module.split(".")[2:3]
            found |= set(module or [alias.name for alias in node.names])
    return found


def test_what_is_watched_for_tables_and_figures_is_all_that_they_are_made_by():
    folder = Path(build.__file__).parent
    # That of all three imports each where it is needed.
    modules = {path: path.stem for path in folder.glob("*.py") if path.stem not in ("build", "__init__")}
    modules |= dict.fromkeys((folder / "figures").glob("*.py"), "figures")
    assert {*PAGE_ALONE, *PICTURES} <= set(modules.values())
    for path, name in modules.items():
        if name not in PAGE_ALONE:
            assert not imported(path) & {*PAGE_ALONE}, path
            assert name in PICTURES or not imported(path) & {*PICTURES}, path


def test_table_files(results):
    names = {path.name for path in (results / "tables").iterdir()}
    metrics = [f"ring--{m}" for m in catalogue.names("points")]
    metrics += [f"digits--{m}" for m in (*catalogue.names("images"), *synthetic.NEAREST)]
    assert names == {
        *(f"{stem}.{kind}" for stem in metrics for kind in ("md", "tex")),
        *(f"{stem}.{kind}" for stem in ("methods", "headline", "ranks", "cost") for kind in ("csv", "md", "tex")),
        "summary.csv",
        "convergence.csv",
    }
    plan = json.loads((results / "experiment.json").read_text(encoding="utf-8"))
    assert names == set(build.table_files(plan["problems"]))
    asked = {"x": {"kind": "points", "metrics": ["mmd"]}}
    assert [name for name in build.table_files(asked) if "--" in name] == ["x--mmd.md", "x--mmd.tex"]
    headline = pd.read_csv(results / "tables" / "headline.csv")
    assert set(headline["metric"]) == {"endpoint_rmse", "fd-digits"}


def test_provenance(data):
    found = provenance(data)
    assert found["commits"] == [synthetic.COMMIT] and not found["dirty"] and found["devices"] == ["cpu"]
    assert found["versions"] == {"python": "3.11.2", "torch": "2.15.0"}
    assert (found["runs"], found["seconds"], found["wall_seconds"]) == (30, 3030.0, 1500.0)
    assert found["commands"][0] == f"git checkout {synthetic.COMMIT}"
    assert found["seeds"] == {"8-Gaussian ring": "0, 1 and 2", "Digits": "0, 1 and 2"}


def test_the_share_of_training_steps_is_of_the_time_that_their_own_clock_measures(tmp_path):
    folder = synthetic.write(tmp_path / "shares", measured=True)
    assert provenance(inputs.load(folder))["steps_share"] == pytest.approx(3030 / (30 * 125))
    (folder / "tables").mkdir(exist_ok=True)
    report = {"started": "2026-01-01T11:00:00+00:00", "cpu_seconds": 50.0}
    (folder / "tables" / "record.json").write_text(json.dumps(report), encoding="utf-8")
    assert provenance(inputs.load(folder))["steps_share"] == pytest.approx(3030 / (30 * 125 + 50))
    path = next(folder.rglob("0/record.json"))
    record = json.loads(path.read_text(encoding="utf-8"))

    def share(**changed):
        path.write_text(json.dumps(record | changed), encoding="utf-8")
        found = provenance(inputs.load(folder))
        return found["steps_share"], found["clock"]

    # A record of an earlier version has no such time, and that of an interrupted training lacks a part of it.
    path.write_text(json.dumps({key: record[key] for key in record if key != "cpu_seconds"}), encoding="utf-8")
    assert provenance(inputs.load(folder))["steps_share"] is None
    assert share(resumed=[40]) == (None, "CPU time")
    total = sum(job["seconds"] for job in provenance(inputs.load(folder))["jobs"])
    expected = pytest.approx(3030 / total) if total else None
    assert share(device="cuda (NVIDIA H200)") == (expected, "time")


@pytest.fixture
def ruined(tmp_path: Path) -> Path:
    """An experiment in which every training run failed."""
    folder = synthetic.write(tmp_path / "ruined", measured=True)
    for name in ("timing", "snapshots", "maps"):
        header = (folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()[0]
        (folder / f"{name}.csv").write_text(f"{header}\n", encoding="utf-8")
    for name in ("metrics", "costs"):
        table = pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)
        lost = table["student"].isin(list(synthetic.STUDENTS))
        table.loc[lost, ["status", "reason"]] = ["failed", "out of memory"]
        if name == "metrics":
            table.loc[lost, "value"] = ""
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "curves.csv").write_text("problem,student,seed,step,loss,map_error\n", encoding="utf-8")
    for problem in ("ring", "digits"):
        for student in synthetic.STUDENTS:
            shutil.rmtree(folder / problem / student)
    return folder


def test_a_ruined_experiment_still_reports(ruined):
    build.write_tables(ruined)
    build.write_figures(ruined)
    page = build.write_page(ruined, ruined / "index.html").read_text(encoding="utf-8")
    plan = json.loads((ruined / "experiment.json").read_text(encoding="utf-8"))
    for stem in build.figure_names(plan["problems"]):
        assert (ruined / "figures" / f"{stem}.png").stat().st_size > 1000
    assert "30 of 30 training runs failed" in page and "no student has a value" in page
    assert page.count("out of memory") > 30
    assert "nothing is ranked" in page and "On the front" not in page and "No step was timed." in page
    assert len(pd.read_csv(ruined / "tables" / "convergence.csv")) == 0
    ranks = pd.read_csv(ruined / "tables" / "ranks.csv")
    assert ranks["mean_rank"].isna().all() and (ranks["failed"] == ranks["runs"]).all()
    # Failed runs equal failed runs.
    assert set(ranks["improvement"].dropna()) == {0.5}


def test_files_of_further_measurements_may_be_missing(tmp_path):
    folder = synthetic.write(tmp_path / "plain")
    assert not any((folder / f"{name}.csv").exists() for name in ("timing", "snapshots", "maps"))
    data = inputs.load(folder)
    assert (len(data.timing), len(data.snapshots), len(data.maps)) == (0, 0, 0)
    build.write_tables(folder)
    written = build.write_figures(folder)
    assert not any("convergence" in path.name or "defects" in path.name for path in written)
    page = build.write_page(folder, tmp_path / "index.html").read_text(encoding="utf-8")
    assert "On the front" not in page and "not measured" in page
    methods = pd.read_csv(folder / "tables" / "methods.csv", keep_default_na=False)
    assert set(methods["relative_low"]) == {""}


def test_one_problem_alone(results, monkeypatch):
    stems: list[str] = []
    monkeypatch.setattr(figures, "save", lambda figure, stem: stems.append(stem.name) or [])
    build.write_figures(results, "digits")
    parts = ("frechet-lpips", "quality", "training", "grid", "neighbours", "convergence", "defects")
    assert stems == [f"digits--{part}" for part in parts]
    with pytest.raises(ValueError, match=r"no problem 'moons'; it has ring, digits"):
        build.write_figures(results, "moons")


def test_a_metric_that_was_never_tried_still_has_its_table(tmp_path):
    folder = synthetic.write(tmp_path / "without")
    table = pd.read_csv(folder / "metrics.csv", dtype=str, keep_default_na=False)
    table[table["metric"] != "mmd"].to_csv(folder / "metrics.csv", index=False)
    build.write_tables(folder)
    assert "No trained student has a value." in (folder / "tables" / "ring--mmd.md").read_text(encoding="utf-8")


def test_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"experiment\.json does not exist"):
        inputs.load(tmp_path)
    folder = synthetic.write(tmp_path / "broken")
    text = (folder / "metrics.csv").read_text(encoding="utf-8")
    (folder / "metrics.csv").write_text(text.replace("extractor", "network", 1), encoding="utf-8")
    with pytest.raises(ValueError, match=r"metrics\.csv: no column extractor"):
        inputs.load(folder)
    (folder / "metrics.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"metrics\.csv does not exist"):
        inputs.load(folder)


def test_a_student_may_be_called_na(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text("problem,student,seed,step,loss\nring,NA,0,1,\nring,nan,1,2,0.5\n", encoding="utf-8")
    table = inputs.read_table(path, inputs.CURVES, {"problem", "student"})
    assert table["student"].tolist() == ["NA", "nan"] and table["loss"].isna().tolist() == [True, False]
    path.write_text("problem,student,seed,step,loss\nring,NA,0,1,much\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"curves\.csv: column loss must hold numbers"):
        inputs.read_table(path, inputs.CURVES, {"problem", "student"})
