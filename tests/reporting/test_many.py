"""An experiment of 36 students: everything stays readable, and nobody is lost."""

from __future__ import annotations

import struct

import pytest

from tests.reporting import synthetic
from tests.reporting.test_page import Document
from ttfm.reporting import build, figures, inputs, palette
from ttfm.reporting.figures.families import family_marks
from ttfm.reporting.names import SHOWN, figure_names
from ttfm.reporting.numbers import some
from ttfm.reporting.ranks import highlighted
from ttfm.reporting.summary import summarise


@pytest.fixture(scope="module")
def many(field) -> inputs.Results:
    return inputs.load(field)


@pytest.fixture(scope="module")
def scores(many):
    return summarise(many.metrics, many.experiment)


@pytest.fixture(scope="module")
def shown(many, scores) -> list[str]:
    return highlighted(scores, many.experiment)


@pytest.fixture(scope="module")
def document(field) -> Document:
    return Document((field.parents[1] / "report" / "index.html").read_text(encoding="utf-8"))


def test_every_declared_file_is_there_and_no_other(field, many):
    problems, students = many.experiment["problems"], many.experiment["students"]
    stems = figure_names(problems, students)
    assert "ring--families" in stems and len(students) == synthetic.FIELD
    drawn = {path.name for path in (field / "figures").iterdir()}
    assert drawn == {f"{stem}.{ending}" for stem in stems for ending in ("png", "svg")}
    assert {path.name for path in (field / "tables").iterdir()} == set(build.table_files(problems))
    for stem in stems:
        size = struct.unpack(">II", (field / "figures" / f"{stem}.png").read_bytes()[16:24])
        assert max(size) <= 1600, stem


def test_few_stand_out_in_one_colour_each_and_the_rest_is_one_entry(many, scores, shown):
    marks = palette.marks(many.experiment["students"], shown)
    coloured = [mark for mark in marks.values() if mark is not palette.BEHIND]
    assert len(shown) == SHOWN == len(coloured) == len({mark.colour for mark in coloured})
    assert "m01" in shown, "the first student of loss lfmd is the baseline"
    drawn = [
        figures.quality(scores, many.experiment, "ring", shown),
        figures.training(many.curves, many.experiment, "ring", shown=shown),
        figures.convergence(many.snapshots, many.experiment, "ring", shown=shown),
    ]
    for figure in drawn:
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert labels[SHOWN] == f"{synthetic.FIELD - SHOWN} other students" and len(labels) <= SHOWN + 4
        handles = figure.legends[0].legend_handles[: SHOWN + 1]
        assert [handle.get_color() for handle in handles] == [*(mark.colour for mark in coloured), palette.FAINT]
        # Everybody is drawn, the grey ones behind.
        lines = [line for axes in figure.axes for line in axes.lines]
        assert sum(line.get_color() == palette.FAINT for line in lines) >= 20


def test_everybody_has_a_name_in_the_small_multiples(many, scores, shown):
    figure = figures.families(scores, many.experiment, "ring", shown)
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    names = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert len(names) == synthetic.FIELD + 1 and len(legends) == 5
    assert len(set(names)) == len(names)
    for legend in legends:
        looks = [(handle.get_color(), handle.get_marker()) for handle in legend.legend_handles]
        assert len(set(looks)) == len(looks)


def test_marks_of_a_family_differ_and_known_ones_stay():
    names = [f"s{i}" for i in range(20)]
    known = palette.marks(names, shown=["s3", "s7"])
    found = family_marks(names, known)
    assert found["s3"] == known["s3"] and found["s7"] == known["s7"] and list(found) == names
    assert len(set(found.values())) == 20 and palette.BEHIND not in found.values()
    assert len({found[name].colour for name in names[:8]}) == 8 or len({mark.colour for mark in found.values()}) == 8


def test_samples_are_those_of_the_foremost_and_the_caption_names_the_others(many, shown, document, monkeypatch):
    seen: list = []
    monkeypatch.setattr(figures, "samples", lambda title, reference, methods, budgets: seen.append(methods))
    monkeypatch.setattr(figures, "trajectories", lambda *arguments: None)
    build._array_figures(many, "ring", shown)
    titles = {name: about["title"] for name, about in many.experiment["students"].items()}
    assert [method.title for method in seen[0]] == ["Teacher, Euler", *(titles[name] for name in shown)]
    text = " ".join(document.text.split())
    left = "; ".join(title for name, title in titles.items() if name not in shown)
    assert text.count(f"Left out: {left}.") == 3
    assert f"Shown are the {SHOWN} of 36 students that stand foremost by mean rank" in text


def test_the_page_lists_everybody_and_its_sentences_stay_short(document):
    text = " ".join(document.text.split())
    assert "others" in text and len(document.all("details")) == 15
    classes = [attrs["class"].split() for attrs in document.all("table")]
    assert sum("sortable" in names for names in classes) == 18
    for image in document.all("img"):
        assert 60 < len(image["alt"]) < 900


def test_some_counts_what_it_leaves_out():
    assert some("abc", 3) == "a, b and c"
    assert some("abcd", 3) == "a, b and 2 others"


def test_an_experiment_of_failures_alone_still_chooses_whom_to_show(many):
    metrics = many.metrics.assign(status="failed", value=float("nan"))
    names = highlighted(summarise(metrics, many.experiment), many.experiment)
    assert len(names) == SHOWN and "m01" in names
    figures.families(summarise(metrics, many.experiment), many.experiment, "ring", names)
