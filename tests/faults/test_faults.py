"""The fault suite in its short form: two cheap faults, and kills of all processes at once; with --slow each fault."""

import pytest

from tests.faults.__main__ import table
from tests.faults.bench import Lost, Skipped, prepare, require
from tests.faults.killing import TARGETS, kills
from tests.faults.kinds import ONCE
from tests.faults.workspace import Workspace

pytestmark = pytest.mark.workflow
CHEAP = ("two runs at once", "damaged samples")
"""Faults after which a finished run has least to do again."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("faults") / "project", seed=1)


@pytest.fixture
def bench(prepared):
    yield prepared
    # What a test that failed has left at work.
    prepared.workspace.end_all()


# Before the kills: these need a finished run.
@pytest.mark.parametrize(
    "name", [*CHEAP, *(pytest.param(name, marks=pytest.mark.slow) for name in ONCE if name not in CHEAP)]
)
def test_the_same_command_completes_after_a_fault(bench, name):
    try:
        ONCE[name](bench)
    except Skipped as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("target", TARGETS)
def test_kills_lose_no_work_and_change_no_number(bench, target, request):
    if target != "everything" and not request.config.getoption("slow"):
        pytest.skip("only with --slow, or by make faults")
    # Few of them: all that a run has to do again is start.
    assert sum(1 for _ in kills(bench, target, (0.4, 0.7))) > 0


def test_a_changed_table_is_a_loss(bench):
    """The suite can fail."""
    name, content = next(iter(bench.reference.items()))
    bench.reference[name] = content + b"x"
    with pytest.raises(Lost, match="tables changed after nothing"):
        bench.unchanged("nothing")
    bench.reference[name] = content
    require(True, "")


def test_a_record_that_was_written_again_is_a_loss_unless_the_fault_asked_for_it(bench):
    finished = bench.workspace.finished()
    bench.once("nothing", finished)
    record = next(path for path in finished if path.parent.name == "teacher")
    finished[record] += b"x"
    bench.once("nothing", finished, remade="ring/teacher/")
    with pytest.raises(Lost, match=r"done twice after nothing: \['ring/teacher/record.json'\]"):
        bench.once("nothing", finished)


def test_a_teacher_that_was_interrupted_is_unfinished(tmp_path):
    workspace = Workspace(tmp_path / "project")
    kept = workspace.results / "ring" / "teacher" / "state" / "0" / "step-000000007.json"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert workspace.unfinished() == {kept.parents[2]: 7}


def test_the_table_sums_up_what_was_lost():
    text = table({"disk full": [1, 1, 0, ""], "kill -9 of job": [7, 5, 2, ""]})
    assert "| disk full | 1 | 1 | 0 |  |" in text
    assert "| all | 8 | 6 | 2 |  |" in text
