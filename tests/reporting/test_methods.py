from __future__ import annotations

import pandas as pd
import pytest

from tests.reporting import synthetic
from ttfm.reporting.markup import latex, markdown
from ttfm.reporting.methods import COLUMNS, methods_table, summarise_methods, target_words, teacher_words


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        ({"target_decay": None, "stages": 0}, "–"),
        ({"target_decay": 0.0, "stages": 0}, "stop-gradient copy"),
        ({"target_decay": 0.9, "stages": 0}, "EMA 0.9"),
        ({"target_decay": 0.9999, "stages": 0}, "EMA 0.9999"),
        ({"target_decay": None, "stages": 8}, "frozen per stage"),
    ],
)
def test_target_networks_in_words(loss, text):
    assert target_words(loss) == text


def test_one_row_per_student(data, experiment):
    methods = summarise_methods(experiment, data.records, data.timing)
    assert methods["student"].tolist() == list(synthetic.STUDENTS)
    assert list(methods.columns) == [*COLUMNS, "relative:ring", "relative:digits"]
    rows = methods.set_index("student")
    assert rows.loc["itvm", ["family", "learns", "teacher", "derivative", "target"]].tolist() == [
        "Lagrangian", "the jump between any two times", "velocity", "no", "EMA 0.9",
    ]  # fmt: skip
    assert rows.loc["meanflow", ["teacher", "derivative", "target"]].tolist() == ["none", "yes", "–"]
    # 1.5 fm steps on the ring, 10 % more on digits; the third was not timed on digits.
    assert rows.loc["itvm", ["relative_low", "relative_high"]].tolist() == pytest.approx([1.5, 1.65])
    assert rows.loc["cd", ["relative_low", "relative_high"]].tolist() == pytest.approx([2.3, 2.3])
    assert pd.isna(rows.loc["cd", "relative:digits"])


def test_the_printed_table(data, experiment):
    table = methods_table(summarise_methods(experiment, data.records, data.timing), data.timing, experiment)
    steps = {row.student: row.cells[7].text for row in table.body}
    starts = {row.student: row.cells[4].text for row in table.body}
    assert (starts["itvm"], starts["meanflow"]) == ("teacher", "random weights")
    assert (steps["itvm"], steps["cd"]) == ("1.50–1.65", "2.30")
    assert table.notes == (f"{synthetic.HOSTILE}: random weights",)
    assert "device cpu" in table.caption
    assert markdown(table).splitlines()[3] == "|:--" * 10 + "|" and r"\begin{tabular}{llllllllll}" in latex(table)


def test_options_that_differ_between_problems_are_told_apart(data, experiment):
    records = {key: dict(record) for key, record in data.records.items()}
    for (problem, student, _), record in records.items():
        if (problem, student) == ("digits", "itvm"):
            record["loss"] = record["loss"] | {"target_decay": 0.0}
    methods = summarise_methods(experiment, records, data.timing).set_index("student")
    assert methods.loc["itvm", "target"] == "EMA 0.9 (8-Gaussian ring); stop-gradient copy (Digits)"


def test_what_no_record_says_stays_empty(data, experiment):
    """Runs that never started, and records of an older state of the code, say nothing of their loss."""
    records = {key: {k: v for k, v in record.items() if k != "loss"} for key, record in data.records.items()}
    methods = summarise_methods(experiment, records, data.timing.iloc[:0])
    assert set(methods["derivative"]) == set(methods["target"]) == {""}
    table = methods_table(methods, data.timing.iloc[:0], experiment)
    assert {row.cells[5].why for row in table.body} == {"not recorded"}
    assert {(row.cells[7].text, row.cells[7].why) for row in table.body} == {("", "not measured")}
    assert table.scored == "No step was timed."


def test_a_step_that_could_not_be_timed_says_why(data, experiment):
    timing = data.timing.assign(status="failed", reason="out of memory")
    table = methods_table(summarise_methods(experiment, {}, timing), timing, experiment)
    assert {(row.cells[7].text, row.cells[7].why) for row in table.body} == {("", "out of memory")}


def test_a_student_that_goes_on_from_another_says_from_which(data, experiment):
    plan = experiment | {"students": {n: about | {"start": "cd"} for n, about in experiment["students"].items()}}
    methods = summarise_methods(plan, data.records, data.timing).set_index("student")
    assert methods.loc["itvm", "start"] == "Consistency distillation"


def test_what_is_taken_from_a_teacher(data, experiment):
    about = experiment["students"]["meanflow"]
    taken = {
        "stored": {"offline": "schedules"},
        "paired": {"offline": "pairs"},
        "fine-tuned": {"starts_from_teacher": True},
        "alone": {},
        "later": {"start": "stored"},
        "online": {"needs_teacher": True, "starts_from_teacher": True},
    }
    students = {name: about | {"offline": ""} | own for name, own in taken.items()}
    found = {name: teacher_words(name, {"students": students}) for name in students}
    assert found == {
        "stored": "trajectories and schedules", "paired": "pairs", "fine-tuned": "weights", "alone": "none",
        "later": "trajectories and schedules", "online": "velocity",
    }  # fmt: skip
