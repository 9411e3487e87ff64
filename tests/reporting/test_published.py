from ttfm.reporting.labels import metric_label
from ttfm.reporting.published import published_table

PRINTED = {
    "metric": "fid",
    "about": "As printed.",
    "rows": [
        {"method": "A", "source": "arXiv 1", "values": {"1": 8.1, "16": 3.57}, "budget": "batch 512"},
        {"method": "B", "source": "arXiv 2", "values": {"2": 2.0}},
    ],
}


def with_printed(experiment, problem, **changes):
    cards = experiment["problems"]
    return experiment | {"problems": cards | {problem: cards[problem] | {"published": PRINTED | changes}}}


def test_published_figures_stand_above_ours_and_nothing_is_ranked(summary, experiment):
    problem = next(iter(experiment["problems"]))
    table = published_table(summary, with_printed(experiment, problem), problem)
    assert table.header == ("1 step", "2 steps", "4 steps", "8 steps", "16 steps")
    assert [row.title for row in table.body] == ["A (arXiv 1)", "B (arXiv 2)"]
    assert [cell.text for cell in table.body[0].cells] == ["8.1", "–", "–", "–", "3.57"]
    assert {row.student for row in table.references} == set(experiment["students"])
    assert all(not cell.best and not cell.tie for row in (*table.body, *table.references) for cell in row.cells)
    own = table.references[0]
    means = summary[
        (summary["problem"] == problem)
        & (summary["student"] == own.student)
        & (summary["metric"] == experiment["problems"][problem]["headline"])
    ].set_index("steps")["mean"]
    assert own.cells[0].value == means[1]
    assert own.cells[-1].text == "–"
    assert "which is not" in table.rules and table.notes == ("A: batch 512.",)


def test_an_equal_metric_is_not_called_another(summary, experiment):
    problem = next(iter(experiment["problems"]))
    headline = experiment["problems"][problem]["headline"]
    table = published_table(summary, with_printed(experiment, problem, metric=headline), problem)
    assert "which is not" not in table.rules
    assert metric_label(headline).title in table.title


def test_without_published_figures_there_is_no_table(summary, experiment):
    assert published_table(summary, experiment, next(iter(experiment["problems"]))) is None
