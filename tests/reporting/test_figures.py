from __future__ import annotations

import math
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.reporting import synthetic
from ttfm.evaluation.catalogue import METRICS
from ttfm.reporting import figures, palette
from ttfm.reporting.figures.cost import shown_budgets
from ttfm.reporting.figures.quality import ROOM, metric_title
from ttfm.reporting.figures.style import save, value_axis
from ttfm.reporting.names import figure_names, frechet_and_lpips
from ttfm.reporting.summary import summarise

SVG = "{http://www.w3.org/2000/svg}"


def panel() -> Axes:
    return Figure().add_subplot()


def words(figure: Figure) -> str:
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    return " ".join(" ".join(texts).split())


def test_names_are_the_declared_ones(experiment):
    assert figure_names(experiment["problems"]) == [
        "ring--quality",
        "ring--training",
        "ring--samples",
        "ring--trajectories",
        "ring--convergence",
        "ring--defects",
        "digits--frechet-lpips",
        "digits--quality",
        "digits--training",
        "digits--grid",
        "digits--neighbours",
        "digits--convergence",
        "digits--defects",
        "cost",
    ]
    assert figure_names({"x": {"kind": "images"}}, range(10)) == ["x--quality", "x--training", "x--grid", "cost"]
    asked = {"kind": "images", "headline": "kid", "metrics": ["kid", "fid", "lpips-alex"]}
    assert figure_names({"x": asked}) == ["x--frechet-lpips", "x--quality", "x--training", "x--grid", "cost"]
    many = ["x--quality", "x--families", "x--training", "x--grid", "x--defects", "cost"]
    assert figure_names({"x": {"kind": "images", "snapshots": False, "maps": True}}, range(11)) == many
    with pytest.raises(ValueError, match=r"'x' is of kind 'sounds'"):
        figure_names({"x": {"kind": "sounds"}})


def test_naming_figures_imports_nothing_heavy():
    code = (
        "import sys, ttfm.reporting.names\n"
        "print([m for m in ('torch', 'pandas', 'matplotlib', 'scipy', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_declared_figure_is_written_within_1600_pixels(results, experiment):
    for stem in figure_names(experiment["problems"]):
        header = (results / "figures" / f"{stem}.png").read_bytes()[:24]
        width, height = struct.unpack(">II", header[16:24])
        assert header[:8] == b"\x89PNG\r\n\x1a\n" and 600 <= width <= 1600 and 400 <= height <= 1600
        assert (results / "figures" / f"{stem}.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_files_carry_no_date_or_version(results):
    for path in sorted((results / "figures").iterdir()):
        content = path.read_bytes()
        assert b"Matplotlib" not in content and b"matplotlib" not in content.split(b"<g id=")[0].replace(b"ttfm", b"")
        assert b"dc:date" not in content


def test_one_mark_per_student_in_every_figure(summary, costs, experiment, data):
    marks = palette.marks(experiment["students"])
    assert len({(mark.colour, mark.marker) for mark in palette.marks(map(str, range(64))).values()}) == 64
    drawn = [
        figures.quality(summary, experiment, "ring"),
        figures.cost(summary, costs, experiment),
        figures.training(data.curves, experiment, "ring"),
    ]
    for figure in drawn:
        handles = figure.legends[0].legend_handles[: len(marks)]
        assert [(h.get_color(), h.get_marker()) for h in handles] == [(m.colour, m.marker) for m in marks.values()]


def test_quality_draws_means_intervals_and_references(summary, experiment):
    figure = figures.quality(summary, experiment, "ring")
    energy = next(axes for axes in figure.axes if axes.get_title(loc="left").startswith("Energy distance"))
    assert (energy.get_xscale(), energy.get_yscale()) == ("log", "log")
    rows = summary[(summary["metric"] == "energy_distance") & (summary["student"] == "itvm")]
    container = energy.containers[0]
    assert np.allclose(container.lines[0].get_ydata(), rows["mean"])
    segments = container.lines[2][0].get_segments()
    assert np.allclose([s[1, 1] - s[0, 1] for s in segments], 2 * rows["ci"])
    levels = {float(line.get_ydata()[0]) for line in energy.lines if len(set(line.get_ydata())) == 1}
    floor = summary[(summary["metric"] == "energy_distance") & (summary["student"].isin(["data", "teacher"]))]["mean"]
    assert set(floor) <= levels
    euler = next(line for line in energy.lines if line.get_marker() == "x")
    assert np.allclose(euler.get_ydata(), 0.048 / np.array([1, 4, 16, 64])) and euler.is_dashed()


def test_titles_of_panels_are_whole():
    assert metric_title("fd-cifar-resnet56", ROOM) == "Fréchet distance\n(CIFAR-10 ResNet-56)"
    assert metric_title("psnr", ROOM) == "PSNR, dB (higher is better)"
    assert metric_title("inception_score", ROOM) == "Inception score\n(higher is better)"
    for metric in METRICS:
        lines = metric_title(metric, ROOM).split("\n")
        assert len(lines) <= 2 and max(map(len, lines)) <= ROOM and "…" not in lines[-1]


def test_the_distance_and_lpips_stand_side_by_side(data, experiment):
    assert frechet_and_lpips({"headline": "fid", "metrics": ["fd-digits", "lpips-vgg", "lpips-alex"]}) == (
        "fid",
        "lpips-vgg",
    )
    assert frechet_and_lpips({"headline": "l2", "metrics": ["fd-digits", "fid", "lpips-vgg"]})[0] == "fd-digits"
    assert frechet_and_lpips({"headline": "fid", "metrics": ["l2"]}) is None
    # LPIPS was skipped: the numbers of the pixel error stand for it.
    table = data.metrics[data.metrics["metric"] != "lpips-squeeze"]
    table = pd.concat([table, table[table["metric"] == "l2"].assign(metric="lpips-squeeze")])
    scores = summarise(table, experiment)
    figure = figures.frechet_lpips(scores, experiment, "digits", ("fd-digits", "lpips-squeeze"))
    left, right = figure.axes
    assert left.get_title(loc="left") == "Digits:\nFréchet distance (digits)"
    assert right.get_title(loc="left") == "\nLPIPS (SqueezeNet)"
    for axes, metric in ((left, "fd-digits"), (right, "lpips-squeeze")):
        rows = scores[(scores["problem"] == "digits") & (scores["metric"] == metric) & (scores["student"] == "itvm")]
        assert np.allclose(axes.containers[0].lines[0].get_ydata(), rows["mean"])
        assert axes.get_xlabel() == "sampling steps"


def test_a_panel_without_lpips_says_why(summary, experiment):
    figure = figures.frechet_lpips(summary, experiment, "digits", ("fd-digits", "lpips-squeeze"))
    assert "not measured: no weights of SqueezeNet found <offline>" in words(figure)


def test_descriptions_are_not_among_the_panels_of_quality(summary, experiment):
    drawn = [axes.get_title(loc="left") for axes in figures.quality(summary, experiment, "digits").axes]
    assert "LPIPS (SqueezeNet)" in drawn and len(drawn) == 6
    assert "copied-train" in set(summary["metric"])


def test_a_metric_that_nobody_has_says_why(summary, experiment):
    figure = figures.quality(summary, experiment, "digits")
    assert "not measured: no weights of SqueezeNet found <offline>" in words(figure)


def test_unbiased_estimates_below_zero_stay_visible():
    axes = panel()
    value_axis(axes, np.array([-0.001, 0.01, 0.5]), np.array([]), signed=True)
    assert axes.get_yscale() == "symlog" and axes.get_ylim()[0] < -0.001
    axes = panel()
    value_axis(axes, np.array([0.01, 0.5]), np.array([0.008, 1e-9]), signed=True)
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "log" and 0.001 < low < 0.008 and high > 0.5


def test_cost_shows_the_smallest_budget_and_four_steps():
    assert shown_budgets([1, 2, 4, 8]) == [1, 4]
    assert shown_budgets([1, 2]) == [1, 2]
    assert shown_budgets([1]) == [1]


def test_samples_say_how_many_points_are_out_of_view():
    reference = np.random.default_rng(0).normal(size=(50, 2))
    far = np.array([[1e3, 0.0], [0.0, 0.0]])
    figure = figures.samples("t", reference, [figures.Sampled("A", None, {"all_k1": far})], [1])
    assert words(figure) == "1 outside"


def test_failed_methods_are_drawn_in_words():
    gone = figures.Sampled("A $x", None, reason="non-finite loss")
    reference = np.zeros((4, 2)) + np.arange(4)[:, None]
    images = np.zeros((3, 1, 8, 8))
    assert words(figures.samples("t", reference, [gone], [1, 2])).count("non-finite loss") == 2
    assert "non-finite loss" in words(figures.trajectories("t", np.zeros((5, 3, 2)), reference, [gone]))
    assert words(figures.image_grid("t", images, [gone], [1, 2])).count("non-finite loss") == 2


def test_image_grid_keeps_columns_and_colour():
    rgb = np.linspace(-1, 1, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    figure = figures.image_grid("t", rgb, [figures.Sampled("A", None, {"k1": rgb[::-1]})], [1])
    teacher, student = (axes.images[0].get_array() for axes in figure.axes)
    assert teacher.shape == (4, 9, 4) and np.allclose(teacher[0, 0, :3], (rgb[0, :, 0, 0] + 1) / 2)
    assert np.allclose(teacher[:, :4], student[:, 5:])
    assert (teacher[:, 4] == 0).all()


def test_image_grid_has_methods_in_rows_and_steps_in_columns():
    images = {f"k{k}": np.full((9, 1, 8, 8), k / 8) for k in (1, 2, 4, 8)}
    methods = [figures.Sampled(name, mark, images) for name, mark in palette.marks(["a", "b"]).items()]
    figure = figures.image_grid("t", np.zeros((9, 1, 8, 8)), methods, [1, 2, 4, 8])
    # Budget by budget: the teacher, then both students. Two budgets stand side by side, the others below them.
    cells = np.array([axes.get_position().p0 for axes in figure.axes]).reshape(2, 2, 3, 2)
    assert np.allclose(cells[:, 0, :, 1], cells[:, 1, :, 1]) and (cells[1, ..., 1].max() < cells[0, ..., 1].min())
    assert np.allclose(cells[0, ..., 0], cells[1, ..., 0]) and (np.diff(cells[0, :, 0, 0]) > 0.3).all()
    assert max(axes.get_position().x1 for axes in figure.axes) <= 1
    for axes, k in zip(figure.axes[1::3], (1, 2, 4, 8), strict=True):
        shown = axes.images[0].get_array()
        # Seven images of 8 pixels with gaps of one.
        assert shown.shape == (8, 62, 4) and shown[0, 0, 0] == pytest.approx((k / 8 + 1) / 2)


def test_the_teachers_rows_stand_together_above_the_students():
    images = {"k1": np.zeros((3, 1, 8, 8))}
    marks = palette.marks(["a", "b"])
    methods = [figures.Sampled("Teacher, Euler", None, images)]
    methods += [figures.Sampled(name, mark, images) for name, mark in marks.items()]
    figure = figures.image_grid("t", images["k1"], methods, [1])
    tops = [axes.get_position().y0 for axes in figure.axes]
    fine_to_euler, euler_to_first, first_to_second = -np.diff(tops)
    assert euler_to_first > 1.2 * fine_to_euler and math.isclose(fine_to_euler, first_to_second)


def test_samples_stand_framed_beside_their_nearest_training_images():
    pixels = np.arange(4 * 4 * 3 * 2 * 2, dtype=np.uint8).reshape(4, 4, 3, 2, 2)
    arrays = {"samples": pixels[:, 0], "nearest": pixels[:, 1:]}
    mark = palette.marks(["a"])["a"]
    gone = figures.Sampled("B", None, reason="non-finite loss")
    figure = figures.neighbours("t", [figures.Sampled("A", mark, arrays), gone])
    assert len(figure.axes) == 4
    for axes, sample, near in zip(figure.axes, pixels[:, 0], pixels[:, 1:], strict=True):
        shown = axes.images[0].get_array()
        images = [shown[:, left : left + 2, :3] for left in range(0, shown.shape[1], 3)]
        assert len(images) == 4
        for image, expected in zip(images, (sample, *near), strict=True):
            assert np.allclose(image * 255, expected.transpose(1, 2, 0))
        assert [line.get_color() for line in axes.lines] == [mark.colour]
    texts = [text.get_text() for text in figure.texts]
    assert {"first samples", "closest of all", "non-finite loss"} <= set(texts)
    assert "non-finite loss" in [t.get_text() for t in figures.neighbours("t", [gone]).texts]


def test_many_methods_stay_within_bounds(tmp_path):
    methods = [figures.Sampled(f"method number {i}", None, {"k1": np.zeros((3, 1, 8, 8))}) for i in range(24)]
    png, _ = save(figures.image_grid("t", np.zeros((3, 1, 8, 8)), methods, [1, 2, 4, 8]), tmp_path / "grid.v1")
    assert png.name == "grid.v1.png"
    assert max(struct.unpack(">II", png.read_bytes()[16:24])) <= 1600


def test_training_without_curves_says_so(data, experiment):
    empty = data.curves[data.curves["problem"] == "none"]
    assert "everything broke" in words(figures.training(empty, experiment, "ring", "everything broke"))
    partial = data.curves[data.curves["student"] != "cd"]
    bottom = figures.training(partial, experiment, "ring").axes[1]
    assert "no curve: Consistency distillation" in bottom.get_xlabel()


def test_a_seed_that_broke_early_does_not_end_the_mean(data, experiment):
    figure = figures.training(data.curves, experiment, "digits")
    colour = palette.marks(experiment["students"])["mf_distill"].colour
    for axes in figure.axes:
        lines = [line for line in axes.lines if line.get_color() == colour]
        mean = next(line for line in lines if line.get_marker() != "None")
        assert mean.get_xdata()[-1] == 6000
    thin = [line for line in figure.axes[0].lines if line.get_color() == colour and line.get_marker() == "None"]
    assert sorted(line.get_xdata()[-1] for line in thin) == [300, 6000, 6000]


def test_the_dark_version_changes_colours_and_nothing_else(results):
    light = (results / "figures" / "cost.svg").read_text(encoding="utf-8")
    dark = palette.for_dark(light)
    assert palette.INK in light and palette.INK not in dark and palette.COLOURS[0] not in dark
    assert len(dark) == len(light) and palette.DARK_PAPER in dark


def test_problem_title_heads_the_figure(summary, experiment):
    assert figures.quality(summary, experiment, "digits").axes[0].get_title(loc="left").startswith("Digits: Fréchet")
    assert math.isclose(figures.quality(summary, experiment, "ring").get_figwidth(), 6.4)
    assert synthetic.HOSTILE[:20] in figures.quality(summary, experiment, "ring").legends[0].get_texts()[3].get_text()
