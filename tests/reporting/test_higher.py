"""Metrics whose higher values are better: bold, ranks, differences, sentences, captions and fronts turn with them."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.reporting.test_ranks import line, plan, ranked
from tests.reporting.test_summary import rows
from ttfm.reporting.convergence import summarise_convergence
from ttfm.reporting.costs import COLUMNS as COSTS
from ttfm.reporting.labels import sign
from ttfm.reporting.summary import summarise
from ttfm.reporting.tables import MIXED, RULES, metric_table, rules
from ttfm.reporting.verdict import _undominated, findings


def psnr(values: dict[str, list], **more) -> pd.DataFrame:
    return rows(values, **more).assign(metric="psnr")


def experiment(students: str = "abc", budgets: tuple = (1,)) -> dict:
    about = plan(students, budgets)
    about["problems"]["ring"]["headline"] = "psnr"
    return about


def test_the_catalogue_decides():
    assert (sign("psnr"), sign("precision"), sign("fid"), sign("a plug-in's")) == (-1, -1, 1, 1)


def test_best_is_the_highest_mean_and_ties_overlap_it():
    table = summarise(psnr({"a": [20.0, 20.2], "b": [20.1, 20.3], "c": [9.0, 9.1]})).set_index("student")
    assert table["best"].to_dict() == {"a": False, "b": True, "c": False}
    assert table["tie"].to_dict() == {"a": True, "b": False, "c": False}


def test_ranks_and_differences_turn_and_failed_runs_stay_last():
    metrics = psnr({"a": [10.0, 10.0, 10.0], "b": [12.0, 12.0, 12.0], "c": [11.0, None, 11.0]})
    table = ranked(metrics, experiment() | {"baseline": "a"})
    assert [line(table, name)["mean_rank"] for name in "abc"] == [3, 1, 2]
    assert line(table, "b", "ring")["difference"] == pytest.approx(-0.2)
    assert line(table, "b", "ring")["improvement"] == 1
    # Two of three runs are better than each of the baseline's; the failed one is worse than all of them.
    assert line(table, "c", "ring")["improvement"] == pytest.approx(2 / 3)


def test_sentences_name_the_highest():
    metrics = psnr({"a": [20.0, 20.1], "b": [30.0, 30.1], "teacher_euler": [25.0]})
    about = experiment("ab")
    costs = pd.DataFrame(columns=["problem", "student", "n", "failed", "seconds"])
    text = " ".join(findings(summarise(metrics, about), costs, about)[0].sentences)
    assert "B has the highest mean, 30.1 ± 0.6" in text and "nearest: A" in text
    assert "(higher is better) against the teacher's k Euler steps" in text
    assert "the 95 % interval of B lies above it and that of A lies below it." in text
    assert "lowest" not in text


def test_captions_say_which_end_is_better():
    about = experiment("ab")
    table = metric_table(summarise(psnr({"a": [1.0], "b": [2.0]}), about), about, "ring", "psnr")
    assert "Higher is better. Bold: the highest mean" in table.rules and "owest" not in table.rules
    assert rules("endpoint_rmse", "l2") == RULES
    assert rules("l2", "psnr") == f"{RULES} {MIXED.format(names='PSNR')}"
    assert "nothing is ranked" in rules("straightness")


def test_nothing_beats_a_student_that_is_better_or_faster():
    about = experiment()
    summary = summarise(psnr({"a": [20.0], "b": [30.0], "c": [19.0]}), about)
    seconds = {"a": 1.0, "b": 2.0, "c": 3.0}
    costs = pd.DataFrame(
        [{"problem": "ring", "student": name, "n": 1, "failed": 0, "seconds": s} for name, s in seconds.items()],
        columns=COSTS,
    )
    assert _undominated(summary, costs, about, "ring")[1] == ["A", "B"]


def test_the_front_of_convergence_rises():
    about = experiment("a")
    runs = psnr({"a": [10.0]})
    snapshots = pd.concat(
        [
            runs.assign(value=value, iteration=i, trained_seconds=float(i), seed=0)
            for i, value in ((1, 10.0), (2, 9.0), (3, 12.0))
        ]
    )
    assert summarise_convergence(snapshots, about)["front"].tolist() == [True, False, True]
