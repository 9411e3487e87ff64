from __future__ import annotations

import pandas as pd

from tests.reporting import synthetic
from tests.reporting.test_summary import rows
from ttfm.reporting.costs import summarise_costs
from ttfm.reporting.provenance import failures, skipped_notes
from ttfm.reporting.summary import summarise
from ttfm.reporting.verdict import caution, findings

EXPERIMENT = {
    "budgets": [1],
    "problems": {"ring": {"title": "Ring", "headline": "endpoint_rmse", "seeds": [0, 1, 2]}},
    "students": {name: {"title": name.upper()} for name in ("a", "b", "c")},
}
NO_COSTS = pd.DataFrame(columns=["problem", "student", "n", "failed", "seconds"])


def first(values: dict[str, list]) -> str:
    return findings(summarise(rows(values), EXPERIMENT), NO_COSTS, EXPERIMENT)[0].sentences[0]


def test_a_clear_winner_is_named_with_its_interval():
    assert first({"a": [1.0, 1.01, 1.02], "b": [5.0, 5.1, 5.2], "c": [6.0, 6.1, 6.2]}) == (
        "At 1 step A has the lowest mean, 1.01 ± 0.02 (n = 3); no other interval overlaps it (nearest: B, 5.10 ± 0.25)."
    )


def test_the_winner_follows_the_numbers():
    text = first({"a": [5.0, 5.1, 5.2], "b": [1.0, 1.01, 1.02], "c": [6.0, 6.1, 6.2]})
    assert text.startswith("At 1 step B has the lowest mean")


def test_overlap_takes_the_ranking_back():
    text = first({"a": [1.0, 1.1, 1.2], "b": [1.1, 1.2, 1.3], "c": [6.0, 6.1, 6.2]})
    assert "the interval of B (1.20 ± 0.25) overlaps it, so no ranking among them is claimed." in text
    assert "C" not in text


def test_one_seed_ranks_nothing():
    text = first({"a": [1.0], "b": [2.0]})
    assert text == ("At 1 step A has the lowest mean, 1.00, with one seed per student: no ranking is claimed.")


def test_what_has_one_seed_takes_no_part_in_the_ranking_of_the_others():
    text = first({"a": [1.0, 1.01, 1.02], "b": [5.0, 5.1, 5.2], "c": [2.0]})
    assert text.endswith("it (nearest: B, 5.10 ± 0.25). Of one seed, and so without an interval: C.")
    text = first({"a": [1.0, 1.1, 1.2], "b": [1.1, 1.2, 1.3], "c": [2.0]})
    assert text.endswith("no ranking among them is claimed. Of one seed, and so without an interval: C.")
    text = first({"a": [2.0, 2.1, 2.2], "b": [5.0, 5.1, 5.2], "c": [1.0]})
    assert text == "At 1 step C has the lowest mean, 1.00, with one seed and no interval: no ranking is claimed."


def test_equal_means_share_the_place():
    assert first({"a": [1.0, 2.0], "b": [2.0, 1.0]}).startswith("At 1 step A and B share the lowest mean, 1.50 ±")


def test_nothing_to_say_without_values():
    assert first({"a": [None], "b": [None]}) == "At 1 step no student has a value."
    assert first({"a": [1.0, 1.0], "b": [None]}) == "At 1 step only A has a value: 1.00 ± 0.00, n = 2."


def test_different_protocols_are_not_ranked():
    table = summarise(pd.concat([rows({"a": [1.0]}), rows({"b": [2.0]}, N=7)]), EXPERIMENT)
    assert "different protocols" in findings(table, NO_COSTS, EXPERIMENT)[0].sentences[0]


def test_the_teachers_euler_steps_and_the_trend():
    table = pd.concat([
        rows({"a": [1.0, 1.02], "b": [3.0, 3.1], "teacher_euler": [2.0]}),
        rows({"a": [0.5, 0.51], "b": [3.05, 3.1], "teacher_euler": [0.1]}, steps=8),
    ])  # fmt: skip
    experiment = EXPERIMENT | {"budgets": [1, 8]}
    sentences = findings(summarise(table, experiment), NO_COSTS, experiment)[0].sentences
    assert (
        "Endpoint error (lower is better) against the teacher's k Euler steps, which are one value without an interval "
        "over seeds: at 1 step (teacher 2.00) the 95 % interval of A lies below it and that of B lies above it; at 8 "
        "steps (teacher 0.100) the 95 % intervals of both students lie above it." in sentences
    )
    trend = next(text for text in sentences if text.startswith("Going from 1 to 8 steps"))
    # Two seeds: A's intervals are 1.01 ± 0.13 and 0.505 ± 0.064, B's 3.05 ± 0.64 and 3.08 ± 0.32.
    assert trend == (
        "Going from 1 to 8 steps lowers the mean of A (1.01 to 0.505); leaves overlapping intervals for B "
        "(3.05 to 3.08)."
    )


def test_the_whole_experiment(summary, costs, experiment):
    groups = {group.heading: group.sentences for group in findings(summary, costs, experiment)}
    assert list(groups) == [
        "8-Gaussian ring: Endpoint error",
        "Digits: Fréchet distance (digits)",
        "Cost",
        "How far this carries",
    ]
    assert any("1 of 30 training runs failed; it is listed below" in text for text in groups["How far this carries"])
    assert any("beaten by no other student in both time and the headline metric at 1 step" in t for t in groups["Cost"])
    digits = groups["Digits: Fréchet distance (digits)"]
    assert any(text.startswith("Best means on the other metrics at 1 step – Kernel distance") for text in digits)


def test_caution_of_single_seeds():
    table = summarise(rows({"a": [1.0], "b": [2.0]}))
    assert caution(table, 0, 2) == (
        "Every student was trained with one seed: the numbers have no interval and rank nothing.",
        "No training run failed.",
    )


def test_failures_name_runs_once_and_evaluations_apart(data, experiment):
    run = {"problem": "Digits", "method": "MeanFlow distillation", "seed": "2", "what": "training"}
    assert failures(data.metrics, data.costs, experiment) == [run | {"reason": synthetic.REASON}]
    metrics = data.metrics.copy()
    hit = (metrics["problem"] == "ring") & (metrics["student"] == "itvm") & (metrics["metric"] == "mmd")
    metrics.loc[hit & (metrics["seed"] == 1), ["status", "reason"]] = ["failed", "out of memory"]
    assert failures(metrics, data.costs, experiment)[1] == {
        "problem": "8-Gaussian ring",
        "method": "ITVM",
        "seed": "1",
        "what": "Squared MMD",
        "reason": "out of memory",
    }


def test_skipped_notes_put_whole_metrics_first(data, experiment):
    assert skipped_notes(data.metrics, experiment) == [
        f"Digits: LPIPS (SqueezeNet) left out – {synthetic.NO_WEIGHTS}.",
        "8-Gaussian ring: Consistency distillation has no Endpoint error at 2, 4 and 8 steps, Semigroup defect and "
        "Tangent defect – re-noising leaves the ODE path.",
        "Digits: Consistency distillation has no Pixel error at 2, 4 and 8 steps, Semigroup defect and Tangent defect "
        "– re-noising leaves the ODE path.",
    ]


def test_teachers_are_not_counted_as_runs_of_students(data, summary, experiment):
    costs = summarise_costs(data.costs.assign(status="failed"), experiment)
    last = findings(summary, costs, experiment)[-1].sentences[-1]
    assert last.startswith("30 of 30 training runs failed; they are listed below")


def test_a_lost_teacher_is_named(data, summary, experiment):
    table = data.costs.copy()
    table.loc[(table["problem"] == "digits") & (table["student"] == "teacher"), "status"] = "failed"
    sentences = findings(summary, summarise_costs(table, experiment), experiment)[-1].sentences
    assert sentences[0] == "The teacher of Digits failed, and with it all that needed one."
