from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest

from tests.reporting import synthetic
from ttfm.reporting.summary import COLUMNS, interval, overlap, pick, summarise, summary_csv

T_2 = 0.95 / math.sqrt(2 * 0.975 * 0.025)
"""0.975 quantile of Student's t with two degrees of freedom, where it has a closed form (4.3027)."""


def rows(values: dict[str, list], **common) -> pd.DataFrame:
    """A long table: a student's list holds its seeds' values; None is a failed run, "skip" a skipped one."""
    default = {"problem": "ring", "metric": "endpoint_rmse", "steps": 1, "N": 100, "split": "-", "extractor": "-"}
    table = []
    for student, seeds in values.items():
        for seed, value in enumerate(seeds):
            status = "failed" if value is None else "skipped" if value == "skip" else "ok"
            table.append(
                default
                | common
                | {
                    "student": student,
                    "seed": seed,
                    "value": value if status == "ok" else math.nan,
                    "status": status,
                    "reason": "" if status == "ok" else f"{status} because",
                    "commit": "c",
                    "device": "cpu",
                }
            )
    frame = pd.DataFrame(table)
    return frame.astype({"seed": "Int64", "steps": "Int64", "N": "Int64", "value": float})


def one(values: dict[str, list], student: str, **common) -> pd.Series:
    return summarise(rows(values, **common)).set_index("student").loc[student]


def test_mean_and_interval_by_hand():
    row = one({"a": [1.0, 2.0, 3.0]}, "a")
    assert (row["mean"], row["n"], row["failed"]) == (2.0, 3, 0)
    assert row["ci"] == pytest.approx(T_2 / math.sqrt(3), rel=1e-12)


def test_one_seed_has_no_interval():
    assert math.isnan(interval(np.array([1.0])))
    row = one({"a": [1.0]}, "a")
    assert math.isnan(row["ci"]) and row["n"] == 1 and row["best"]


def test_failed_seeds_are_counted_and_left_out_of_the_mean():
    row = one({"a": [1.0, None, 3.0]}, "a")
    assert (row["mean"], row["n"], row["failed"], row["reason"]) == (2.0, 2, 1, "failed because")


@pytest.mark.parametrize(("value", "column"), [(None, "failed"), ("skip", "skipped")])
def test_cells_without_any_value_stay_with_their_reason(value, column):
    row = one({"a": [value, value], "b": [1.0, 1.0]}, "a")
    assert math.isnan(row["mean"]) and row["n"] == 0 and row[column] == 2 and not row["best"] and not row["tie"]
    assert row["reason"].endswith("because")


def test_infinite_values_count_as_failed():
    row = one({"a": [1.0, math.inf, 3.0]}, "a")
    assert (row["mean"], row["n"], row["failed"]) == (2.0, 2, 1)
    assert "not a finite number" in row["reason"]


def test_best_is_the_lowest_mean_and_never_the_luckiest_seed():
    table = summarise(rows({"lucky": [0.0, 4.0], "steady": [1.0, 1.5]})).set_index("student")
    assert table["best"].to_dict() == {"lucky": False, "steady": True}


def test_references_never_win():
    table = summarise(rows({"a": [2.0], "data": [0.1], "teacher": [0.2], "teacher_euler": [0.3]})).set_index("student")
    assert table["best"].to_dict() == {"a": True, "data": False, "teacher": False, "teacher_euler": False}
    assert not table["tie"].any()


def test_ties_are_overlapping_intervals():
    table = summarise(
        rows({"best": [1.0, 1.1, 1.2], "near": [1.2, 1.3, 1.4], "far": [5.0, 5.1, 5.2], "gone": [None] * 3})
    )
    assert dict(zip(table["student"], table["tie"], strict=True)) == {
        "best": False,
        "near": True,
        "far": False,
        "gone": False,
    }


def test_overlap_includes_touching_intervals_and_takes_an_unknown_one_as_a_point():
    assert overlap(1.0, 0.5, 2.0, 0.5)
    assert not overlap(1.0, 0.5, 2.0, 0.49)
    assert overlap(1.0, math.nan, 1.5, 0.5) and not overlap(1.0, math.nan, 1.5, math.nan)


def test_nothing_is_best_among_different_protocols():
    table = summarise(pd.concat([rows({"a": [1.0]}), rows({"b": [2.0]}, N=500)]))
    assert not table["best"].any() and not table["tie"].any()


def test_budgets_are_ranked_apart():
    table = summarise(pd.concat([rows({"a": [1.0], "b": [2.0]}), rows({"a": [4.0], "b": [3.0]}, steps=2)]))
    best = table[table["best"]]
    assert list(zip(best["student"], best["steps"], strict=True)) == [("a", 1), ("b", 2)]


def test_row_order_of_the_input_changes_nothing(data, experiment):
    shuffled = data.metrics.sample(frac=1, random_state=3)
    assert summary_csv(summarise(shuffled, experiment)) == summary_csv(summarise(data.metrics, experiment))


def test_order_and_columns(summary):
    assert list(summary.columns) == COLUMNS
    assert list(dict.fromkeys(summary["problem"])) == ["ring", "digits"]
    ring = summary[summary["problem"] == "ring"]
    assert list(dict.fromkeys(ring["metric"])) == synthetic.POINTS
    energy = ring[ring["metric"] == "energy_distance"]
    assert list(dict.fromkeys(energy["student"])) == [*synthetic.STUDENTS, "data", "teacher", "teacher_euler"]
    assert energy.loc[energy["student"] == "itvm", "steps"].tolist() == synthetic.BUDGETS


def test_the_failed_run_and_the_skipped_metric_of_the_experiment(summary):
    failed = pick(summary, "digits", "fd-digits", "mf_distill", 4)
    assert (failed["n"], failed["failed"], failed["reason"]) == (2, 1, synthetic.REASON)
    skipped = summary[summary["metric"] == "lpips-squeeze"]
    assert len(skipped) == 20 and (skipped["n"] == 0).all() and (skipped["skipped"] == 3).all()
    assert set(skipped["reason"]) == {synthetic.NO_WEIGHTS}


def test_csv_leaves_missing_numbers_empty(summary):
    table = pd.read_csv(io.StringIO(summary_csv(summary)), dtype=str, keep_default_na=False)
    skipped = table[table["metric"] == "lpips-squeeze"]
    assert set(skipped["mean"]) == {""} and set(skipped["ci"]) == {""}
    assert set(table.loc[table["student"] == "data", "steps"]) == {""}
