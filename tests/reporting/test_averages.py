import pandas as pd
import pytest

from ttfm.reporting.averages import averages_table


def snapshots(experiment, problem):
    """Two averages of one student over two seeds, and a snapshot, which is no average."""
    metric, student = experiment["problems"][problem]["headline"], next(iter(experiment["students"]))
    same = {"problem": problem, "student": student, "metric": metric, "N": 256, "commit": "c" * 40, "device": "cpu"}
    rows = [
        same | {"seed": seed, "steps": steps, "average": average, "value": steps * average + seed, "status": "ok"}
        for seed in (0, 1)
        for steps in (1, 2)
        for average in (0.9, 0.99)
    ]
    rows[-1] |= {"status": "failed", "value": None}
    return pd.DataFrame([*rows, same | {"seed": 0, "steps": 1, "iteration": 5, "value": 100.0, "status": "ok"}])


def test_every_average_has_a_row_and_every_number_of_steps_a_column(experiment):
    problem = next(iter(experiment["problems"]))
    cards = {problem: experiment["problems"][problem] | {"averages": True}}
    plan = experiment | {"problems": cards, "budgets": [1, 2, 4]}
    table = averages_table(snapshots(plan, problem), plan, problem)
    first, second = table.body
    assert (first.title, second.title) == ("ITVM, 0.9", "ITVM, 0.99")
    assert [cell.value for cell in first.cells] == pytest.approx([1.4, 2.3, None])
    assert first.cells[0].ci and first.cells[0].n == "2"
    assert second.cells[1].n == "1" and not second.cells[1].ci
    assert first.cells[2].why == "no run has a value"
    assert "N = 256" in table.scored


def test_without_several_averages_there_is_no_table(experiment):
    problem = next(iter(experiment["problems"]))
    assert averages_table(snapshots(experiment, problem), experiment, problem) is None
