from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from tests.reporting import synthetic
from tests.reporting.test_figures import words
from ttfm.reporting import figures
from ttfm.reporting.convergence import COLUMNS, front, front_members, front_sentence, summarise_convergence

PLAN = {
    "budgets": [1, 2],
    "problems": {"ring": {"title": "Ring", "headline": "endpoint_rmse", "seeds": [0, 1]}},
    "students": {"a": {"title": "A", "learns": "any_to_any"}, "b": {"title": "B", "learns": "any_to_any"}},
}


def snapshots(points: list[tuple]) -> pd.DataFrame:
    """Rows (student, seed, iteration, seconds, value), all at one step."""
    frame = pd.DataFrame(points, columns=["student", "seed", "iteration", "trained_seconds", "value"])
    common = {"problem": "ring", "metric": "endpoint_rmse", "steps": 1, "status": "ok", "commit": "c", "device": "cpu"}
    return frame.assign(**common).astype({"steps": "Int64", "iteration": "Int64", "seed": "Int64"})


def test_front_by_hand():
    seconds = np.array([1.0, 2.0, 2.0, 3.0, 4.0, 5.0, math.nan])
    values = np.array([5.0, 4.0, 4.0, 6.0, 4.0, 1.0, 0.0])
    assert front(seconds, values).tolist() == [True, True, True, False, False, True, False]
    assert front(np.empty(0), np.empty(0)).tolist() == []


def test_means_are_over_the_seeds_that_reached_the_end():
    table = summarise_convergence(
        snapshots([("a", 0, 10, 1.0, 4.0), ("a", 1, 10, 3.0, 100.0), ("a", 0, 20, 2.0, 2.0)]), PLAN
    )
    assert list(table.columns) == COLUMNS
    assert table["mean"].tolist() == [4.0, 2.0] and table["seconds"].tolist() == [1.0, 2.0]
    assert table["n"].tolist() == [1, 1] and table["failed"].tolist() == [1, 1]


def test_the_front_names_its_members_in_order_of_time():
    points = [("a", 0, 10, 1.0, 4.0), ("a", 0, 20, 2.0, 3.0), ("a", 0, 40, 8.0, 2.9)]
    points += [("b", 0, 10, 3.0, 3.5), ("b", 0, 20, 6.0, 1.0)]
    table = summarise_convergence(snapshots(points), PLAN)
    assert table["front"].tolist() == [True, True, False, False, True]
    assert front_members(table, "ring") == [("a", 1.0, 2.0), ("b", 6.0, 6.0)]
    assert front_sentence(table, PLAN, "ring") == (
        "On the front of training time and Endpoint error at 1 step are A (at 1 s to 2 s) and B (at 6 s): no other "
        "mean is as low in as little time. Its last mean is 1.00. One seed each: this ranks nothing."
    )


def test_nothing_scored_is_an_empty_table_and_no_sentence():
    table = summarise_convergence(snapshots([]), PLAN)
    assert table.empty and list(table.columns) == COLUMNS and front_sentence(table, PLAN, "ring") == ""
    figure = figures.convergence(snapshots([]), PLAN, "ring")
    assert "Endpoint error was not scored during training" in words(figure)
    assert "all broke" in words(figures.convergence(snapshots([]), PLAN, "ring", "all broke"))


def test_the_figure_draws_seeds_means_and_the_front(data, experiment):
    figure = figures.convergence(data.snapshots, experiment, "digits")
    top, bottom = figure.axes
    assert (top.get_xscale(), top.get_yscale(), bottom.get_xscale()) == ("log", "log", "log")
    runs = sum(len(range(3)) for _ in synthetic.STUDENTS)
    assert len(top.lines) == runs + len(synthetic.STUDENTS) and len(bottom.lines) == len(top.lines) + 1
    steps = bottom.lines[-1]
    assert steps.get_drawstyle() == "steps-post" and (np.diff(steps.get_ydata()) <= 0).all()
    table = summarise_convergence(data.snapshots, experiment)
    here = table[(table["problem"] == "digits") & (table["steps"] == 1) & table["front"]]
    assert len(steps.get_xdata()) == len(here) + 1
    # The broken run's only score is drawn, but no mean holds it.
    broken = table[(table["problem"] == "digits") & (table["student"] == "mf_distill")]
    assert set(broken["n"]) == {2} and set(broken["failed"]) == {1}


def test_few_iterations_close_together_keep_a_linear_axis():
    points = [("a", 0, 10, 1.0, 4.0), ("a", 0, 20, 2.0, 3.0)]
    assert figures.convergence(snapshots(points), PLAN, "ring").axes[0].get_xscale() == "linear"


def test_maps_share_one_scale_and_curves_stand_below(data, experiment):
    figure = figures.defects(data.maps, experiment, "ring", absent=["cd"])
    meshes = [axes.collections[0] for axes in figure.axes if axes.collections and axes.get_xlabel() != "time s = t"]
    for metric, size, pairs in (("semigroup_map", 8 * 8, 36), ("tangent_map", 8 * 9, 44)):
        heat = [mesh for mesh in meshes if mesh.get_array() is not None and mesh.get_array().size == size]
        assert len(heat) == 4 and len({id(mesh.norm) for mesh in heat}) == 1
        here = data.maps[(data.maps["problem"] == "ring") & (data.maps["metric"] == metric)]
        means = here.groupby(["student", "s", "t"])["value"].mean()
        assert heat[0].norm.vmax == pytest.approx(means.max()) and heat[0].norm.vmin == pytest.approx(means.min())
        itvm = means["itvm"]
        assert np.ma.max(heat[0].get_array()) == pytest.approx(itvm.max())
        assert np.ma.count(heat[0].get_array()) == len(itvm) == pairs
    lines = next(axes for axes in figure.axes if axes.get_xlabel() == "time s = t").lines
    assert len(lines) == 4


def test_a_student_without_a_map_says_so_and_none_at_all_too(data, experiment):
    assert words(figures.defects(data.maps, experiment, "ring")) == "no map no map"
    empty = data.maps.iloc[:0]
    assert "no map of defects was measured" in words(figures.defects(empty, experiment, "ring"))
    assert "out of memory" in words(figures.defects(empty, experiment, "ring", reason="out of memory"))
    only = data.maps[data.maps["metric"] == "semigroup_map"]
    assert "no tangent defect was measured" in words(figures.defects(only, experiment, "ring", ["cd"]))


def test_a_map_of_one_cell_or_of_zeros_can_be_drawn(experiment):
    one = {"problem": "ring", "student": "itvm", "seed": 0, "metric": "semigroup_map", "s": 0.2, "t": 0.6, "value": 0.0}
    figures.defects(pd.DataFrame([one]), experiment, "ring").draw_without_rendering()
