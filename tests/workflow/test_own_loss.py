"""A newcomer's loss: one file, one line of an experiment; verified, trained and reported with nothing else touched."""

import hashlib
import shutil
import subprocess
import sys

import pytest

from tests.losses import generic
from tests.workflow.project import POINTS, ROOT, checkout, planned, rows, rules, snakemake, write
from ttfm.losses import LOSSES

pytestmark = pytest.mark.workflow
EXAMPLE = ROOT / "examples" / "my_loss.py"


def verify(path, *arguments):
    """Run the generic tests on the losses of ``path`` alone, as the README says."""
    command = [sys.executable, "-m", "pytest", "tests/losses/test_generic.py", "-p", "no:cacheprovider", "-q"]
    command += ["--loss-module", str(path), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout + done.stderr


def test_the_generic_tests_verify_the_example():
    status, output = verify(EXAMPLE, "tests/training/test_states.py", "-k", "midpoint_semigroup", "-rA")
    assert status == 0, output
    for test in (
        "test_the_exact_map_is_a_fixed_point[midpoint_semigroup-gaussian]",
        "test_the_exact_map_is_a_fixed_point[midpoint_semigroup-eps=1.0-mixture]",
        "test_both_conventions_of_a_networks_times_give_the_same_numbers[midpoint_semigroup]",
        "test_a_short_training_learns_the_flow[midpoint_semigroup]",
    ):
        assert f"PASSED tests/losses/test_generic.py::{test}" in output
    resumed = "test_every_loss_goes_on_to_the_bit_from_any_step[midpoint_semigroup]"
    assert f"PASSED tests/training/test_states.py::{resumed}" in output


def test_a_loss_under_test_does_not_stay_in_the_registry():
    assert generic.losses((str(EXAMPLE),))[-1].name == "midpoint_semigroup"
    assert "midpoint_semigroup" not in LOSSES


@pytest.mark.parametrize(
    ("right", "wrong", "failing"),
    [
        ("torch.lerp(rest, b,", "torch.lerp(b, rest,", "test_the_exact_map_is_a_fixed_point"),
        (
            "with torch.no_grad():",
            "with torch.enable_grad():",
            "test_terms_are_finite_values_per_sample_and_train_the_",
        ),
        ("needs_teacher = True", "needs_teacher = False", "test_terms_are_finite"),
        ("batch.uniform()", "torch.rand(len(s)).to(s)", "test_randomness_comes_from_the_batch_alone"),
    ],
    ids=["target", "gradient", "teacher", "randomness"],
)
def test_a_mistake_in_it_is_found(tmp_path, right, wrong, failing):
    text = EXAMPLE.read_text()
    assert text.count(right) == 1
    path = tmp_path / "my_loss.py"
    path.write_text(text.replace(right, wrong))
    status, output = verify(path, "-k", "midpoint_semigroup and not learns")
    assert status == 1
    assert f"FAILED tests/losses/test_generic.py::{failing}" in output


def test_a_declaration_that_is_wrong_is_one_message(tmp_path):
    path = tmp_path / "my_loss.py"
    path.write_text(EXAMPLE.read_text().replace("any_to_any", "anything"))
    status, output = verify(path)
    assert status != 0
    assert f"ERROR: {path}:25: the loss MidpointSemigroup cannot be used: learns: 'anything' is not allowed" in output
    assert "Traceback" not in output


def digests(folder):
    """What a checkout consists of, without what a run adds."""
    made = {".snakemake", "results", "report", "__pycache__"}
    files = (path for path in folder.rglob("*") if path.is_file() and not made & set(path.relative_to(folder).parts))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The example's experiment, run once in a checkout; a part of the loss lies in a second file."""
    folder = checkout(tmp_path_factory.mktemp("own") / "project")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    loss, norm = folder / "examples" / "my_loss.py", "from ttfm.losses.base import squared_norm\n"
    (folder / "examples" / "my_norm.py").write_text(norm)
    loss.write_text(loss.read_text().replace(norm, "from examples.my_norm import squared_norm\n"))
    before = digests(folder)
    snakemake(folder, "--configfile", "examples/my_experiment.yaml")
    return folder, before


def test_it_is_in_the_tables_and_on_the_page_with_nothing_else_touched(run):
    folder, before = run
    assert digests(folder) == before
    table = rows(folder / "results" / "my_experiment" / "metrics.csv")
    mine = [row for row in table if row["loss"] == "midpoint_semigroup"]
    assert {row["student"] for row in mine} == {"mine"}
    assert {row["steps"] for row in mine if row["metric"] == "endpoint_rmse"} == {"1", "2"}
    assert all(row["status"] == "ok" and row["value"] for row in mine)
    headline = (folder / "results" / "my_experiment" / "tables" / "headline.md").read_text()
    page = (folder / "report" / "my_experiment" / "index.html").read_text(encoding="utf-8")
    assert "Midpoint semigroup" in headline
    assert "Midpoint semigroup" in page
    assert "an example; the identity is that of" in page


@pytest.mark.parametrize("file", ["my_loss.py", "my_norm.py"])
def test_an_edit_of_its_file_or_of_one_that_it_imports_retrains_its_students_alone(run, file):
    folder, _ = run
    path = folder / "examples" / file
    text = path.read_text()
    path.write_text(text + "\n# an edit\n")
    plan = snakemake(folder, "--configfile", "examples/my_experiment.yaml", "--dry-run")
    path.write_text(text)
    assert rules(plan) == {"student", "timing", "evaluate", "collect", "tables", "figures", "page"}
    assert "Train mine on ring, seed 0" in plan
    assert "Train itvm" not in plan


def test_an_edit_of_a_file_of_an_imported_teacher_redoes_what_is_made_of_it(run):
    folder, _ = run
    theirs, adapter, names = (folder / name for name in ("theirs.safetensors", "adapter.py", "names.py"))
    shutil.copy(folder / "results/my_experiment/ring/teacher/weights.safetensors", theirs)
    adapter.write_text("from names import load\n")
    names.write_text("from safetensors.torch import load_file as load\n")
    ring = POINTS["problems"]["ring"] | {"data": {"name": "checkerboard"}}
    ring["teacher"] = {"weights": theirs.name, "adapter": adapter.name}
    # The teacher and what is made of it first: all else is made of these.
    arguments = ("results/points/ring/solution.npz", *write(folder, POINTS | {"problems": {"ring": ring}}))
    snakemake(folder, *arguments)
    assert planned(folder, *arguments) == set()
    for path in (theirs, adapter, names):
        content = path.read_bytes()
        # Behind the code, or within the last tensor.
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if path == theirs else content + b"# an edit\n")
        assert planned(folder, *arguments) == {"teacher", "solution"}, path.name
        path.write_bytes(content)


def test_a_mistake_in_its_declaration_is_an_error_before_any_job(run):
    folder, _ = run
    path = folder / "examples" / "my_loss.py"
    text = path.read_text()
    path.write_text(text.replace('source = "', '# source = "'))
    output = snakemake(folder, "--configfile", "examples/my_experiment.yaml", check=False)
    path.write_text(text)
    assert "examples/my_loss.py:25: the loss MidpointSemigroup cannot be used: source is missing" in output
    assert "Traceback" not in output
