from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from tests.reporting.test_summary import T_2, rows
from ttfm.reporting.labels import baseline
from ttfm.reporting.names import MANY, SHOWN
from ttfm.reporting.ranks import (
    ALL,
    comparisons,
    highlighted,
    improvement,
    paired_difference,
    rank_cells,
    rank_sentences,
    rank_table,
    run_scores,
    summarise_ranks,
)
from ttfm.reporting.summary import summarise


def plan(students: str = "abc", budgets: tuple = (1, 2), problems: tuple = ("ring",), **more) -> dict:
    about = {"headline": "endpoint_rmse", "seeds": [0, 1, 2], "kind": "points"}
    return {
        "budgets": list(budgets),
        "problems": {name: about | {"title": name.title()} for name in problems},
        "students": {name: {"title": name.upper(), "loss": name} for name in students},
    } | more


def runs(metrics: pd.DataFrame) -> pd.DataFrame:
    """``costs.csv`` of the runs of a long table."""
    failed = (
        metrics.assign(failed=metrics["status"] == "failed").groupby(["problem", "student", "seed"])["failed"].any()
    )
    return failed.map({True: "failed", False: "ok"}).rename("status").reset_index()


def ranked(metrics: pd.DataFrame, experiment: dict) -> pd.DataFrame:
    return summarise_ranks(metrics, summarise(metrics, experiment), runs(metrics), experiment)


def line(table: pd.DataFrame, student: str, problem: str = ALL) -> pd.Series:
    return table[(table["student"] == student) & (table["problem"] == problem)].iloc[0]


def test_mean_ranks_by_hand():
    metrics = pd.concat([
        # Means 2, 2 and 5: the first two share the places 1 and 2.
        rows({"a": [1.0, 3.0], "b": [2.0, 2.0], "c": [5.0, 5.0]}),
        # Means 3, 1 and 2.
        rows({"a": [3.0, 3.0], "b": [1.0, 1.0], "c": [2.0, 2.0]}, steps=2),
    ])  # fmt: skip
    table = ranked(metrics, plan())
    assert [line(table, name)["mean_rank"] for name in "abc"] == [2.25, 1.25, 2.5]
    assert set(table["ranked"]) == set(table["cells"]) == {2}
    shown = rank_table(table, plan())
    assert [row.student for row in shown.body] == ["b", "a", "c"]
    assert [row.cells[0].text for row in shown.body] == ["1.2", "2.2", "2.5"]


def test_ranks_are_among_students_with_values():
    metrics = pd.concat([
        rows({"a": [2.0, 2.0], "b": [1.0, 1.0], "c": [3.0, 3.0]}),
        rows({"a": [2.0, 2.0], "b": ["skip", "skip"], "c": [None, None]}, steps=2),
    ])  # fmt: skip
    cells = rank_cells(summarise(metrics, plan()), plan())
    assert cells["ring", 1].tolist() == [2, 1, 3]
    assert cells["ring", 2].fillna(0).tolist() == [1, 0, 0]
    table = ranked(metrics, plan())
    assert (line(table, "b")["mean_rank"], line(table, "b")["ranked"], line(table, "b")["cells"]) == (1.0, 1, 2)
    assert next(row for row in rank_table(table, plan()).body if row.student == "b").cells[0].n == "1/2"


def test_one_run_ranks_nothing():
    metrics = rows({"a": [1.0], "b": [2.0]})
    experiment = plan("ab", (1,))
    table = ranked(metrics, experiment)
    assert table["mean_rank"].isna().all() and table["improvement"].isna().all()
    shown = rank_table(table, experiment)
    assert all(row.cells[0].text == "–" and row.cells[-2].text == "–" for row in shown.body)
    assert rank_sentences(table, experiment) == [
        "Every student has at most one successful run at each problem: nothing is ranked."
    ]
    # Among others with more runs, the single one has no place either.
    cells = rank_cells(summarise(rows({"a": [0.1, None], "b": [2.0, 2.0], "c": [1.0, 1.0]})), plan(budgets=(1,)))
    assert cells["ring", 1].fillna(0).tolist() == [0, 2, 1]


def test_a_run_whose_samples_diverged_at_some_steps_has_failed_whatever_its_training_says():
    metrics = pd.concat(
        [rows({"a": [1.0, None, 1.0], "b": [2.0, 2.0, 2.0]}), rows({"a": [1.0] * 3, "b": [2.0] * 3}, steps=2)]
    )
    costs = runs(metrics).assign(status="ok")
    experiment = plan("ab")
    table = summarise_ranks(metrics, summarise(metrics, experiment), costs, experiment)
    assert [line(table, name)["failed"] for name in "ab"] == [1, 0]
    # Its training failed, too: one run.
    costs.loc[(costs["student"] == "a") & (costs["seed"] == metrics["seed"].iloc[1]), "status"] = "failed"
    table = summarise_ranks(metrics, summarise(metrics, experiment), costs, experiment)
    assert line(table, "a")["failed"] == line(table, "a", "ring")["failed"] == 1


def test_different_protocols_have_no_ranks():
    metrics = pd.concat([rows({"a": [1.0, 1.0]}), rows({"b": [2.0, 2.0]}, N=7)])
    assert rank_cells(summarise(metrics), plan("ab", (1,))).isna().all(axis=None)


def test_paired_difference_by_hand():
    experiment = plan("ab", baseline="a")
    metrics = pd.concat([
        rows({"a": [1.0, 2.0, 3.0], "b": [1.5, 2.5, 4.0]}),
        rows({"a": [4.0, 4.0, 4.0], "b": [4.0, 2.0, 8.0]}, steps=2),
    ])  # fmt: skip
    a, b = (run_scores(metrics, experiment, "ring", name) for name in "ab")
    # Baseline means 2 and 4; relative differences .25, .25, .5 and 0, -.5, 1; per seed .125, -.125, .75.
    seeds = np.array([0.125, -0.125, 0.75])
    mean, half, n = paired_difference(b, a)
    assert (mean, n) == (pytest.approx(0.25), 3)
    assert half == pytest.approx(T_2 * seeds.std(ddof=1) / math.sqrt(3))
    row = line(ranked(metrics, experiment), "b", "ring")
    assert (row["difference"], row["pairs"]) == (pytest.approx(0.25), 3)
    # A baseline has no difference to itself.
    assert math.isnan(line(ranked(metrics, experiment), "a", "ring")["difference"])
    cell = rank_table(ranked(metrics, experiment), experiment).body[-1].cells[1]
    assert (cell.text, cell.ci, cell.n) == ("+25", "112", "3")


def test_only_common_seeds_and_common_budgets_are_paired():
    experiment = plan("ab", baseline="a")
    metrics = pd.concat([
        rows({"a": [1.0, None, 3.0], "b": [2.0, 2.0, None]}),
        rows({"a": [1.0, 1.0, 1.0], "b": ["skip", "skip", None]}, steps=2),
    ])  # fmt: skip
    a, b = (run_scores(metrics, experiment, "ring", name) for name in "ab")
    assert list(b.columns) == [1] and list(a.columns) == [1, 2]
    mean, half, n = paired_difference(b, a)
    assert (mean, n) == (pytest.approx(1.0), 1) and math.isnan(half)
    # Without an interval the number stands alone, with its one seed.
    cell = next(row for row in rank_table(ranked(metrics, experiment), experiment).body if row.student == "b").cells[1]
    assert (cell.text, cell.ci, cell.n) == ("+100", "", "1")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"a": [1.0, 1.0], "b": [None, None]}, "no run with a value"),
        ({"a": [None, None], "b": [1.0, 1.0]}, "the baseline has no run with a value"),
        ({"a": [1.0, None], "b": [None, 1.0]}, "no common seed with values"),
        ({"a": [-1.0, 0.5], "b": [1.0, 1.0]}, "a baseline whose mean is not positive"),
        ({"a": [1.0, 1.0], "b": ["skip", "skip"]}, "no run with a value"),
    ],
)
def test_a_missing_difference_says_why(values, why):
    experiment = plan("ab", (1,), baseline="a")
    table = ranked(rows(values), experiment)
    assert why in line(table, "b", "ring")["why"] and math.isnan(line(table, "b", "ring")["difference"])
    shown = rank_table(table, experiment)
    assert why in next(row for row in shown.body if row.student == "b").cells[1].why
    assert any("Ring: no difference for B" in note for note in shown.notes)


def test_probability_of_improvement_by_hand():
    experiment = plan("ab", (1,), baseline="a")
    scores = [
        run_scores(rows({"a": [2.0, 3.0, 4.0], "b": [1.0, 3.0]}), experiment, "ring", name) for name in ("b", "a")
    ]
    # 1 beats all three; 3 loses to 2, equals 3, beats 4.
    assert comparisons(*scores).tolist() == [[1, 1, 1], [0, 0.5, 1]]
    estimate, low, high = improvement([comparisons(*scores)])
    assert estimate == 0.75 and 0 <= low < 0.75 < high <= 1
    assert improvement([comparisons(*scores)]) == (estimate, low, high)


def test_failed_runs_are_worse_than_all_others_and_equal_each_other():
    experiment = plan("ab", (1,), baseline="a")
    scores = [run_scores(rows({"a": [9e9, None], "b": [1.0, None]}), experiment, "ring", name) for name in ("b", "a")]
    assert comparisons(*scores).tolist() == [[1, 1], [0, 0.5]]
    every = ranked(rows({"a": [1.0, 2.0], "b": [None, None]}), experiment)
    assert line(every, "b")["improvement"] == line(every, "b")["improvement_high"] == 0.0
    assert (line(every, "b")["failed"], line(every, "b")["runs"]) == (2, 2)
    # A value that is not finite is a failed run, too.
    endless = rows({"a": [1.0, 2.0], "b": [math.inf, 0.5]})
    assert run_scores(endless, experiment, "ring", "b")[1].tolist() == [math.inf, 0.5]


def test_problems_weigh_the_same_and_runs_stay_whole():
    one, two = np.ones((3, 3)), np.zeros((5, 2))
    assert improvement([one, two]) == (0.5, 0.5, 0.5)
    assert improvement([one, np.empty((0, 0))]) == (1.0, 1.0, 1.0)
    assert all(map(math.isnan, improvement([])))
    # Better at one budget, worse at the other, by the same run: one half without any spread.
    metrics = pd.concat([rows({"a": [2.0, 2.0], "b": [1.0, 1.0]}), rows({"a": [1.0, 1.0], "b": [2.0, 2.0]}, steps=2)])
    assert line(ranked(metrics, plan("ab", baseline="a")), "b")[["improvement", "improvement_low"]].tolist() == [
        0.5,
        0.5,
    ]


def test_the_bootstrap_covers_its_own_estimate():
    """Against the variance of the estimate from runs drawn anew: a sanity check of the resampling, not of its width."""
    rng = np.random.default_rng(3)
    tables, estimates = [], []
    for _ in range(200):
        a, b = rng.normal(size=(20, 1)), rng.normal(0.5, size=(1, 20))
        tables.append((a < b).astype(float))
        estimates.append(tables[-1].mean())
    widths = [np.subtract(*improvement([table])[:0:-1]) for table in tables[:20]]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(estimates), rel=0.25)


def test_the_baseline_is_the_plans_choice():
    students = {"x": {"loss": "itvm"}, "y": {"loss": "lfmd"}, "z": {"loss": "lfmd"}}
    assert baseline({"students": students}) == "y"
    assert baseline({"students": students, "baseline": "z"}) == "z"
    assert baseline({"students": {"x": {"loss": "itvm"}}}) == "x"


def test_what_the_experiment_says(data, summary, experiment):
    table = summarise_ranks(data.metrics, summary, data.costs, experiment)
    assert list(dict.fromkeys(table["problem"])) == ["ring", "digits", ALL]
    assert set(table["baseline"]) == {"lfmd"}
    cd = line(table, "cd")
    assert (cd["ranked"], cd["cells"], cd["failed"], cd["runs"]) == (5, 8, 0, 6)
    assert (line(table, "mf_distill", "digits")["pairs"], line(table, "mf_distill")["failed"]) == (2, 1)
    shown = rank_table(table, experiment)
    assert shown.body[0].student == "itvm" and shown.body[1].cells[1].text == "baseline"
    text = " ".join(rank_sentences(table, experiment))
    assert "Lowest mean ranks among the 4 students ranked in all 8 cells: ITVM (1.6)" in text
    assert "lies above one half for ITVM and lies below it for Consistency distillation" in text
    assert "With 3 runs at most per problem, these intervals are too narrow." in text
    assert "Runs that failed: MeanFlow distillation (1/6)." in text


def test_few_students_are_all_in_colour():
    names = [f"s{i}" for i in range(MANY)]
    experiment = plan() | {"students": {name: {"title": name, "loss": name} for name in names}}
    assert highlighted(summarise(rows({"s1": [1.0]})), experiment) == names


def test_of_many_the_foremost_and_the_baseline_stand_out():
    names = [f"s{i:02d}" for i in range(MANY + 10)]
    experiment = plan(budgets=(1, 2), baseline="s15")
    experiment |= {"students": {name: {"title": name, "loss": name} for name in names}}
    # The lower the number, the better; but the first lost all its runs at two steps, and the second is one run only.
    values = {name: [float(i)] * 2 for i, name in enumerate(names)} | {"s01": [1.0]}
    metrics = pd.concat([rows(values), rows(values | {"s00": [None, None]}, steps=2)])
    chosen = highlighted(summarise(metrics, experiment), experiment)
    assert chosen == ["s01", "s02", "s03", "s04", "s05", "s06", "s07", "s15"] and len(chosen) == SHOWN
