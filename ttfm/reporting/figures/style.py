"""How every figure looks, and how it is written: the same bytes for the same input."""

from __future__ import annotations

import contextlib
import functools
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ttfm.files import replacing
from ttfm.reporting.labels import method_title
from ttfm.reporting.palette import BEHIND, FAINT, GRID, INK, MUTED, PAPER, Mark, marks

P = ParamSpec("P")

WIDTH = 6.4
"""Inches. At a phone's width (about 3.6 inches) the 10.5-point text below is still readable."""
LABEL = 36
"""Characters of a method's title in a legend."""
MAX_HEIGHT = 10.5
"""Inches; with ``DPI`` this stays below 1600 pixels, beyond which reports crop."""
DPI = 150

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "figure.titlesize": 11.5,
    "figure.titleweight": "bold",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.7,
    "lines.markersize": 6,
    # Titles come from experiments: a dollar sign in one is a dollar sign.
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "ttfm",
    "path.simplify": True,
}

REFERENCE_NAMES = {
    "data": "data floor",
    "teacher": "teacher, fine ODE",
    "teacher_euler": "teacher, Euler steps",
    "autoencoder": "autoencoder",
}
REFERENCE_LINES: dict[str, dict[str, Any]] = {
    "data": {"color": MUTED, "linestyle": (0, (1, 1.5)), "linewidth": 1.5},
    "autoencoder": {"color": MUTED, "linestyle": (0, (5, 1.5, 1, 1.5)), "linewidth": 1.3},
    "teacher": {"color": INK, "linestyle": "-", "linewidth": 1.1},
    "teacher_euler": {"color": INK, "linestyle": (0, (4, 2)), "linewidth": 1.3, "marker": "x", "markersize": 5},
}


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """The package's style over matplotlib's defaults, for the duration of a block."""
    with mpl.rc_context():
        mpl.rcdefaults()
        for name, setting in RC.items():
            mpl.rcParams[name] = setting  # type: ignore[index]
        yield


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorator: draw under the package's style, whatever the user's own matplotlib settings are."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _style():
            return draw(*args, **kwargs)

    return wrapped


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``<stem>.png`` and ``<stem>.svg`` without dates or versions; returns the two paths."""
    written = []
    with _style():
        # Lay out once: both formats get the same positions, and the costly part is not done again.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.set_dpi(DPI)
        # Not savefig, which would draw each of them twice.
        for ending, write in (
            ("png", lambda path: FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})),
            ("svg", lambda path: FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None, "Creator": None})),
        ):
            # Not with_suffix: a problem's name may hold a dot.
            path = stem.parent / f"{stem.name}.{ending}"
            with replacing(path) as temporary:
                write(temporary)
            written.append(path)
    return written


def message(axes: Axes, text: str, size: float = 9.5, width: int = 34) -> None:
    """Turn ``axes`` into a panel that says in words why nothing is drawn."""
    axes.set_axis_off()
    axes.text(
        0.5, 0.5, textwrap.fill(text, width), transform=axes.transAxes, ha="center", va="center", size=size, color=MUTED
    )


def value_axis(axes: Axes, values: np.ndarray, references: np.ndarray, *, signed: bool) -> None:
    """Scale the y axis for discrepancies: logarithmic, with a linear part around zero where values are not positive.

    Args:
        axes: panel to set.
        values: everything that must be visible (means and ends of intervals), any shape.
        references: levels of reference lines, visible unless far below the values.
        signed: whether values at or below zero are meaningful (unbiased estimates).
    """
    values = values[np.isfinite(values)]
    references = references[np.isfinite(references)]
    positive = values[values > 0]
    if not positive.size:
        axes.margins(y=0.15)
        return
    low, high = float(positive.min()), float(values.max())
    near = references[(references > low / 30) & (references > 0)]
    low, high = min([low, *near]), max([high, *near])
    if signed and (values <= 0).any():
        threshold = max(float(np.abs(values[values <= 0]).max()), low)
        axes.set_yscale("symlog", linthresh=threshold, linscale=0.5)
        axes.set_ylim(-1.6 * threshold, high * 1.5)
        powers = 10.0 ** np.arange(np.ceil(np.log10(threshold)), np.floor(np.log10(high)) + 1)
        axes.yaxis.set_major_locator(FixedLocator([-threshold, 0, *powers]))
    else:
        pad = max((high / low) ** 0.07, 1.08)
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(low / pad, high * pad)
        decades = np.log10(high / low)
        subs = (1.0,) if decades > 2.2 else (1.0, 2.0, 5.0)
        axes.yaxis.set_major_locator(MaxNLocator(4) if decades < 0.8 else LogLocator(subs=subs))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.2g}"))


def step_axis(axes: Axes, budgets: list[int]) -> None:
    """Scale the x axis for step budgets: base-two logarithm, a tick at every budget."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(budgets[0] / 2**0.35, budgets[-1] * 2**0.35)
    axes.xaxis.set_major_locator(FixedLocator(list(map(float, budgets))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


Shown = Collection[str] | None
"""The students drawn in colour; None for all."""


def student_marks(experiment: Mapping[str, Any], shown: Shown = None) -> dict[str, Mark]:
    """The marks of an experiment's students; first those in the background, so that what is drawn last is in front."""
    found = marks(experiment["students"], shown)
    return dict(sorted(found.items(), key=lambda item: item[1] is not BEHIND))


def _handles(experiment: Mapping[str, Any], shown: Shown) -> list[Line2D]:
    """Handles of the students in colour, in display order, and one for all others."""
    styles = student_marks(experiment, shown)
    handles = [
        Line2D([], [], color=mark.colour, marker=mark.marker, label=short(method_title(experiment, name), LABEL))
        for name, mark in styles.items()
        if mark is not BEHIND
    ]
    behind = len(styles) - len(handles)
    if behind:
        handles.append(Line2D([], [], color=FAINT, linewidth=1, marker=".", label=f"{behind} other students"))
    return handles


def _columns(labels: list[str]) -> int:
    """The most columns, up to three, in which a legend of these labels fits the figure's width."""
    for columns in (3, 2):
        rows = -(-len(labels) // columns)
        widest = [max(map(len, labels[i : i + rows])) for i in range(0, len(labels), rows)]
        if sum(0.55 + 0.07 * width for width in widest) <= WIDTH:
            return columns
    return 1


def legend_height(experiment: Mapping[str, Any], references: int = 3, shown: Shown = None) -> float:
    """Inches that ``legend`` needs for the students and this many references."""
    names = list(REFERENCE_NAMES.values())[:references]
    labels = [str(handle.get_label()) for handle in _handles(experiment, shown)] + names
    return 0.1 + 0.2 * -(-len(labels) // _columns(labels))


def legend(figure: Figure, experiment: Mapping[str, Any], references: list[str], shown: Shown = None) -> None:
    """One legend for the whole figure: students in display order, those in grey as one, then the references drawn."""
    handles = _handles(experiment, shown)
    handles += [Line2D([], [], label=REFERENCE_NAMES[name], **REFERENCE_LINES[name]) for name in references]
    columns = _columns([str(handle.get_label()) for handle in handles])
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=2.2, columnspacing=1.2)


def short(text: str, width: int) -> str:
    """``text`` cut to ``width`` characters with an ellipsis, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"
