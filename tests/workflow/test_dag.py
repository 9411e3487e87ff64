"""Real DAGs: complete, repeatable to the byte, edited, and going on around a run that diverges."""

import json
import os
import re
import signal
import time

import pytest
import yaml
from PIL import Image

from tests.faults.workspace import Workspace, wait_until
from tests.workflow.project import POINTS, checkout, in_one_process, planned, rows, rules, snakemake, write

pytestmark = pytest.mark.workflow
TINY = ("--configfile", "workflow/experiments/tiny.yaml")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The tiny experiment, run once."""
    folder = checkout(tmp_path_factory.mktemp("tiny") / "project")
    output = snakemake(folder, *TINY)
    return folder, output


def test_the_tiny_experiment_ends_with_its_page(tiny):
    folder, output = tiny
    page = folder / "report" / "tiny" / "index.html"
    assert f"The report: {page}" in output
    text = page.read_text(encoding="utf-8")
    assert len(text) < 10_000_000
    assert "ITVM" in text


def test_every_run_is_in_the_long_table_with_its_protocol(tiny):
    folder, _ = tiny
    table = rows(folder / "results" / "tiny" / "metrics.csv")
    found = {(r["problem"], r["student"], r["seed"]) for r in table}
    for student in ("itvm", "cd", "meanflow"):
        assert {
            ("ring", student, "0"),
            ("ring", student, "1"),
            ("digits", student, "0"),
            ("digits", student, "1"),
        } <= found
    assert {("ring", "data", ""), ("ring", "teacher", "0"), ("ring", "teacher_euler", "0")} <= found
    for row in table:
        on_paths = row["metric"].endswith("defect") or row["metric"] in ("straightness", "jacobian_asymmetry")
        assert int(row["N"]) >= 64 if on_paths else row["N"] == "256"
        assert row["commit"]
        assert row["device"].startswith("cpu")
        assert row["split"]
        assert row["extractor"]
        assert (row["value"] != "") == (row["status"] == "ok")
        assert row["status"] == "ok" or row["reason"]
    metrics = {row["metric"] for row in table if row["problem"] == "digits" and row["value"]}
    assert {"fd-digits", "kid-digits", "l2", "semigroup_defect", "tangent_defect"} <= metrics
    assert "fid" not in {row["metric"] for row in table}


def test_a_second_call_finds_nothing_to_do(tiny):
    folder, _ = tiny
    assert "Nothing to be done" in snakemake(folder, *TINY)


def test_an_edit_reruns_what_it_changes_and_no_more(tiny):
    folder, _ = tiny
    for edited, expected in (
        ("ttfm/reporting/figures/quality.py", {"figures", "page"}),
        ("ttfm/reporting/verdict.py", {"page"}),
        ("ttfm/reporting/summary.py", {"tables", "figures", "page"}),
        (
            "ttfm/losses/cd.py",
            {
                *("student", "student_0_1", "timing", "evaluate", "sample", "features", "score"),
                *("collect", "tables", "figures", "page"),
            },
        ),
        (
            "ttfm/evaluation/scores.py",
            {"reference", "score", "score_baselines", "collect", "tables", "figures", "page"},
        ),
    ):
        path = folder / edited
        text = path.read_text()
        path.write_text(text + "\n# an edit\n")
        output = snakemake(folder, *TINY, "--dry-run")
        assert rules(output) == expected
        # Of the students those alone whose loss it is.
        trained = set(re.findall(r"^Job \d+: Train (\S+) on", output, re.MULTILINE))
        assert trained == ({"cd"} if edited == "ttfm/losses/cd.py" else set())
        path.write_text(text)
        assert planned(folder, *TINY) == set()


def test_what_is_made_of_a_changed_result_is_made_again(tiny):
    folder, _ = tiny
    weights = folder / "results/tiny/ring/teacher/weights.safetensors"
    content, dates = weights.read_bytes(), weights.stat()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    after = {"solution", "student_0_1", "timing", "evaluate", "baselines", "collect", "tables", "figures", "page"}
    assert planned(folder, *TINY) == after
    weights.write_bytes(content)
    os.utime(weights, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    assert planned(folder, *TINY) == set()


def test_an_edit_is_seen_whatever_the_dates_of_results_are(tiny):
    """A clock that was ahead, or an edit while a job ran, leaves results that are newer than what they were made of."""
    folder, _ = tiny
    loss = folder / "ttfm/losses/cd.py"
    text, ahead = loss.read_text(), time.time() + 7200
    for path in (folder / "results").rglob("*"):
        if path.is_file():
            os.utime(path, (ahead, ahead))
    loss.write_text(text + "\n# an edit\n")
    os.utime(loss, (0, 0))
    assert {"student", "evaluate", "page"} <= planned(folder, *TINY)
    loss.write_text(text)
    assert planned(folder, *TINY) == set()


HOSTILE = "$(touch hacked); touch `touch hacked` '&\""
"""No shell may ever read what a user writes."""


def pictured(folder):
    """An experiment on eight pictures in a folder that is there now."""
    pictures = folder / HOSTILE
    pictures.mkdir()
    for index in range(8):
        Image.new("RGB", (9, 9), (index, 0, 0)).save(pictures / f"{index}.png")
    config = json.loads(json.dumps(POINTS))
    config["problems"] = {
        "pictures": {
            "title": "Pictures",
            "data": {"name": "folder", "path": pictures.name, "size": 8},
            "network": {"name": "unet", "channels": 8, "multipliers": [1], "patch": 2},
            "training": {"iterations": 2, "batch": 4},
            "evaluation": {"samples": 16, "steps": 2, "metrics": ["l2"], "headline": "l2"},
        }
    }
    return pictures, config


def test_a_folder_of_images_that_has_changed_is_read_again(tmp_path):
    folder = checkout(tmp_path / "project")
    pictures, config = pictured(folder)
    arguments = ("results/points/pictures/images/about.json", *write(folder, config))
    snakemake(folder, *arguments)
    assert planned(folder, *arguments) == set()
    assert not any("hacked" in path.name for path in folder.iterdir() if path != pictures)
    Image.new("RGB", (9, 9), (0, 255, 0)).save(pictures / "3.png")
    assert planned(folder, *arguments) == {"images"}
    snakemake(folder, *arguments)
    assert planned(folder, *arguments) == set()
    # What is not there any more costs nothing that was made of it.
    pictures.rename(folder / "elsewhere")
    assert planned(folder, *arguments) == set()


LOSS = '''
from dataclasses import dataclass
from ttfm.losses import register
from ttfm.losses.velocity_regression import VelocityRegression

@register
@dataclass(frozen=True)
class Mine(VelocityRegression):
    """The regression of a known velocity field, under a name of its own."""

    name = "mine"
'''
ADAPTER = """
from ttfm.registry import build_network

def load(path):
    open(path, "rb").close()
    return build_network({"name": "unet", "channels": 8, "multipliers": [1], "patch": 2}, (3, 8, 8)).state_dict()
"""


def test_files_that_an_experiment_names_are_never_read_by_a_shell(tmp_path):
    """A loss, a teacher's weights and their adapter, the folder of assets: names that a shell would take for more."""
    folder = checkout(tmp_path / "project")
    _, config = pictured(folder)
    for name, text in {"loss.py": LOSS, "adapter.py": ADAPTER, "weights": "anything"}.items():
        (folder / f"{HOSTILE} {name}").write_text(text)
    loss, adapter, weights = (f"{HOSTILE} {name}" for name in ("loss.py", "adapter.py", "weights"))
    config |= {"assets": f"{HOSTILE} assets", "loss_modules": [loss], "students": {"mine": {"loss": "mine"}}}
    config["problems"]["pictures"]["teacher"] = {"weights": weights, "adapter": adapter}
    before = {path.name for path in folder.iterdir()}
    arguments = ("results/points/pictures/mine/0/weights.safetensors", *write(folder, config))
    snakemake(folder, *arguments)
    assert planned(folder, *arguments) == set()
    assert not any("hacked" in path.name for path in folder.iterdir() if path.name not in before)
    record = json.loads((folder / "results/points/pictures/teacher/record.json").read_text())
    assert sorted(record["imported"]) == sorted([weights, adapter])
    # An edit of either is seen under such a name too.
    (folder / weights).write_text("anything else")
    assert {"teacher", "student"} <= planned(folder, *arguments)


def test_snakemakes_own_report_can_be_built(tiny):
    folder, _ = tiny
    snakemake(folder, *TINY, "--report", "snakemake-report.html")
    text = (folder / "snakemake-report.html").read_text(encoding="utf-8")
    assert "Figures" in text
    assert "95 % intervals over training seeds" in text


def test_two_runs_give_the_same_numbers_to_the_byte_whoever_else_takes_part(tiny, tmp_path):
    first, _ = tiny
    second = checkout(tmp_path / "second")
    config = yaml.safe_load((second / "workflow" / "experiments" / "tiny.yaml").read_text())
    config["students"] = {"cd": config["students"]["cd"]}
    in_one_process(second, "results/tiny/metrics.csv", *write(second, config))
    absent = (",itvm,", ",meanflow,")
    lines, again = ((at / "results/tiny/metrics.csv").read_text().splitlines() for at in (first, second))
    assert [line for line in lines if not any(name in line for name in absent)] == again


def test_the_same_numbers_give_the_same_tables_to_the_byte(tiny):
    folder, _ = tiny
    tables = folder / "results" / "tiny" / "tables"
    before = {path.name: path.read_bytes() for path in tables.iterdir() if path.name != "record.json"}
    assert len(before) > 25
    snakemake(folder, *TINY, "--forcerun", "tables", "--until", "tables")
    assert {path.name: path.read_bytes() for path in tables.iterdir() if path.name != "record.json"} == before


def test_a_diverged_run_is_shown_and_the_others_go_on(tmp_path):
    folder = checkout(tmp_path / "project")
    config = json.loads(json.dumps(POINTS))
    config["students"]["broken"] = {"loss": "itvm", "title": "Broken", "training": {"lr": 1e30}}
    in_one_process(folder, *write(folder, config))
    table = rows(folder / "results" / "points" / "metrics.csv")
    broken = [row for row in table if row["student"] == "broken"]
    assert broken
    assert all(row["status"] == "failed" and "non-finite loss term" in row["reason"] for row in broken)
    assert all(row["status"] == "ok" for row in table if row["student"] == "itvm")
    assert "non-finite loss term" in (folder / "report" / "points" / "index.html").read_text(encoding="utf-8")


def test_a_diverged_teacher_fails_its_problem_and_the_page_is_built(tmp_path):
    folder = checkout(tmp_path / "project")
    config = json.loads(json.dumps(POINTS))
    lost = json.loads(json.dumps(config["problems"]["ring"]))
    lost |= {"title": "Lost", "data": {"name": "checkerboard"}, "teacher": {"lr": 1e30}}
    config["problems"]["lost"] = lost
    config["students"]["reflow"] = {"loss": "reflow"}
    in_one_process(folder, *write(folder, config))
    timing = {(row["problem"], row["student"]): row for row in rows(folder / "results" / "points" / "timing.csv")}
    assert timing["lost", "reflow"]["status"] == "failed"
    assert timing["ring", "reflow"]["status"] == "ok"
    table = rows(folder / "results" / "points" / "metrics.csv")
    failed = [row for row in table if row["problem"] == "lost" and row["student"] != "data"]
    assert {row["student"] for row in failed} == {"itvm", "cd", "reflow", "teacher", "teacher_euler"}
    assert all(row["status"] == "failed" and "the teacher failed: non-finite" in row["reason"] for row in failed)
    assert all(row["status"] != "failed" for row in table if row["problem"] == "ring" or row["student"] == "data")
    assert "the teacher failed: non-finite" in (folder / "report/points/index.html").read_text(encoding="utf-8")


def test_trainings_in_pieces_chain_by_themselves_seeds_that_train_together_too(tmp_path, monkeypatch):
    folder = checkout(tmp_path / "project")
    config = json.loads(json.dumps(POINTS)) | {"seeds": [0, 1], "seeds_together": 2, "students": {"cd": {"loss": "cd"}}}
    config["problems"]["ring"]["training"]["iterations"] = 3
    # Less than a step: every piece is one.
    monkeypatch.setenv("TTFM_TRAIN_AT_MOST", "0.001")
    snakemake(folder, *write(folder, config), "--until", "student_0_1")
    made = folder / "results" / "points" / "ring"
    for path in (made / "teacher", made / "cd" / "0", made / "cd" / "1"):
        # A consistency student is given the teacher's samples on top of its own.
        assert json.loads((path / "record.json").read_text())["resumed"][:2] == [1, 2]


def test_a_training_that_is_told_to_stop_is_tried_again_by_the_same_command(tmp_path):
    workspace = Workspace(tmp_path / "project", iterations=3_000)
    workspace.arguments += ("--until", "teacher")
    run = workspace.start()
    for told in (signal.SIGUSR1, signal.SIGTERM):
        before = set(workspace.results.glob("ring/teacher/state/*/step-*.json"))
        newer = lambda before=before: set(workspace.results.glob("ring/teacher/state/*/step-*.json")) - before  # noqa: E731
        assert wait_until(newer, run), workspace.log.read_text()
        os.kill(workspace.jobs("teacher")[0], told)
        assert wait_until(lambda: not workspace.jobs("teacher"), run)
    assert run.wait(timeout=600) == 0, workspace.log.read_text()
    assert workspace.log.read_text().count("Trying to restart") == 2
    resumed = json.loads((workspace.results / "ring" / "teacher" / "record.json").read_text())["resumed"]
    assert len(resumed) == 2 and 0 < resumed[0] < resumed[1] < 3_000


def test_a_training_in_pieces_that_fails_is_not_tried_again(tmp_path, monkeypatch):
    folder = checkout(tmp_path / "project")
    monkeypatch.setenv("TTFM_TRAIN_AT_MOST", "100")
    monkeypatch.setenv("TTFM_RANKS", "two")
    output = snakemake(folder, *write(folder, POINTS), "--until", "teacher", check=False)
    # As it is from a log that is shown once.
    assert output.count("'two' is not a number of ranks") == 1
    assert "Trying to restart" not in output


def test_snapshots_starts_and_maps_reach_their_tables(tmp_path):
    folder = checkout(tmp_path / "project")
    config = json.loads(json.dumps(POINTS))
    config["students"] = {
        "itvm": {"loss": "itvm", "training": {"snapshots": [5, 10]}},
        "second": {"loss": "lfmd", "start": "itvm"},
    }
    config["problems"]["ring"]["evaluation"]["maps"] = True
    snakemake(folder, *write(folder, config), "--until", "collect")
    results = folder / "results" / "points"
    scored = rows(results / "snapshots.csv")
    assert {(row["student"], row["iteration"], row["steps"]) for row in scored} == {
        ("itvm", iteration, steps) for iteration in ("5", "10", "20") for steps in ("1", "2")
    }
    assert all(row["metric"] == "endpoint_rmse" and float(row["value"]) > 0 for row in scored)
    seconds = [float(row["trained_seconds"]) for row in scored if row["steps"] == "1"]
    assert seconds == sorted(seconds) and seconds[0] > 0
    maps = rows(results / "maps.csv")
    assert {row["metric"] for row in maps} == {"semigroup_map", "tangent_map"}
    assert {row["student"] for row in maps} == {"itvm", "second"}
    timed = {row["student"]: float(row["relative"]) for row in rows(results / "timing.csv")}
    assert set(timed) == {"itvm", "second"} and min(timed.values()) > 1
    record = json.loads((results / "ring" / "second" / "0" / "record.json").read_text())
    assert record["config"]["start"] == "itvm"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"students": {"itvm": {"loss": "itmv"}}}, "students.itvm.loss: 'itmv' is unknown"),
        ({"students": {"itvm": {"loss": "itvm", "options": {"mu": 1.5}}}}, "students.itvm.options.mu: 1.5"),
        ({"seeds": [-1]}, "seeds.0: -1 is not allowed"),
        (
            {"students": {"cd": {"loss": "cd", "options": {"sigma_min": 90.0}}}},
            "students.cd (on ring): sigma_min: 90.0 must be below sigma_max",
        ),
        (
            {
                "problems": {
                    "digits": {
                        "title": "Digits",
                        "data": {"name": "digits"},
                        "network": {"name": "unet", "patch": 3},
                        "evaluation": {"samples": 256},
                    }
                }
            },
            "problems.digits.network: multipliers, patch: 8x8 images cannot be divided by 6",
        ),
    ],
)
def test_a_mistake_is_an_error_before_any_job(tmp_path, change, message):
    folder = checkout(tmp_path / "project")
    output = snakemake(folder, *write(folder, POINTS | change), check=False)
    assert message in output
    assert "experiment.yaml" in output
    assert not (folder / "results" / "points").exists()
