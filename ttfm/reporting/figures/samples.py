"""What the samples look like: two-dimensional points, paths through time, and grids of images."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ttfm.reporting.figures.style import MAX_HEIGHT, WIDTH, message, short, styled
from ttfm.reporting.palette import INK, MUTED, Mark

_REFERENCE_POINTS = 2000
_PATHS = 24
_PITCH = 1.125
"""Distance between images, in image sizes: one pixel of eight is left free."""
ACROSS, IMAGES = (2, 5), 14
"""Step budgets side by side, at least and at most, the others stand below; and images side by side in all of them."""
_BETWEEN = 0.35
"""Between the teacher's rows and the students', in rows."""
_HEADING = 26
"""Characters of a panel's heading, on one line."""


@dataclass(frozen=True)
class Sampled:
    """The samples of one method.

    Attributes:
        title: the method's title.
        mark: its mark; None for the teacher, which is drawn in black.
        arrays: ``samples.npz`` of one seed; empty if there is none.
        seed: which seed, None where that means nothing.
        reason: why ``arrays`` is empty or lacks something.
    """

    title: str
    mark: Mark | None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    seed: int | None = None
    reason: str = ""

    @property
    def colour(self) -> str:
        """The colour to draw with."""
        return self.mark.colour if self.mark else INK


def _frame(reference: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and half-width of a square that holds the reference data with some air."""
    low, high = reference.min(axis=0), reference.max(axis=0)
    return (low + high) / 2, 0.56 * float((high - low).max())


def _square(axes: Axes, centre: np.ndarray, half: float) -> None:
    axes.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half), xticks=[], yticks=[])
    axes.set_aspect("equal")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.6, color=MUTED)


def _row_label(axes: Axes, method: Sampled) -> None:
    axes.set_ylabel(textwrap.fill(short(method.title, 44), 16), rotation=0, ha="right", va="center", labelpad=6)


@styled
def samples(title: str, reference: np.ndarray, methods: Sequence[Sampled], budgets: Sequence[int]) -> Figure:
    """Samples of each method (rows) at each step budget (columns) over the reference data.

    Args:
        title: the problem's title.
        reference: real data, ``(N, 2)``.
        methods: rows from top to bottom; their arrays ``all_k<steps>`` ``(n, 2)`` are drawn, else ``k<steps>``.
        budgets: step budgets.
    """
    cell = min((WIDTH - 1.2) / len(budgets), (MAX_HEIGHT - 0.9) / len(methods))
    figure = Figure(figsize=(WIDTH, cell * len(methods) + 0.9), layout="constrained")
    figure.suptitle(short(f"{title}: samples", 60), x=0.01, ha="left")
    centre, half = _frame(reference)
    grid = figure.subplots(len(methods), len(budgets), squeeze=False)
    for method, row in zip(methods, grid, strict=True):
        for k, axes in zip(budgets, row, strict=True):
            points = method.arrays.get(f"all_k{k}", method.arrays.get(f"k{k}"))
            _square(axes, centre, half)
            if method is methods[0]:
                axes.set_title("1 step" if k == 1 else f"{k} steps", fontweight="normal")
            if points is None:
                text = textwrap.fill(short(method.reason or "no samples", 120), 17)
                axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", size=7.5, color=MUTED)
                continue
            axes.scatter(*reference[:_REFERENCE_POINTS].T, s=11, color="#e1e5ea", linewidths=0, rasterized=True)
            axes.scatter(*points.T, s=2, color=method.colour, alpha=0.6, linewidths=0, rasterized=True)
            outside = int((~(np.abs(points - centre) <= half).all(axis=1)).sum())
            if outside:
                axes.text(
                    0.97, 0.03, f"{outside} outside", transform=axes.transAxes, ha="right", size=7.5, color=INK,
                    bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1},
                )  # fmt: skip
        _row_label(row[0], method)
    return figure


def _lines(axes: Axes, paths: np.ndarray, **style: object) -> None:
    """Draw ``paths`` ``(M, P, 2)`` as P polylines."""
    axes.add_collection(LineCollection(list(paths.transpose(1, 0, 2)), rasterized=True, **style))  # type: ignore[arg-type]


@styled
def trajectories(title: str, teacher: np.ndarray | None, reference: np.ndarray, methods: Sequence[Sampled]) -> Figure:
    """Each student's states over its largest step budget, over the teacher's fine ODE paths from the same noise.

    Args:
        title: the problem's title.
        teacher: the fine paths, ``(M, P, 2)``; None if there are none.
        reference: real data, ``(N, 2)``, drawn faintly.
        methods: one panel each; their array ``path_k<steps>`` ``(steps + 1, P, 2)`` is drawn.
    """
    columns = min(3, len(methods))
    rows = -(-len(methods) // columns)
    heading = 0.25 if all(len(method.title) <= _HEADING for method in methods) else 0.42
    cell = min(WIDTH / columns, (MAX_HEIGHT - 0.4) / rows - heading)
    figure = Figure(figsize=(WIDTH, (cell + heading) * rows + 0.4), layout="constrained")
    paths = [max((int(n[6:]) for n in method.arrays if n.startswith("path_k")), default=None) for method in methods]
    budgets = sorted({steps for steps in paths if steps})
    counted = f", {' or '.join(map(str, budgets))} steps" if budgets else ""
    figure.suptitle(short(f"{title}: from noise to data{counted}", 60), x=0.01, ha="left")
    teacher = np.empty((0, 0, 2)) if teacher is None else teacher[:, :_PATHS]
    centre, half = _frame(np.concatenate([reference, teacher.reshape(-1, 2)]))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(methods) :]:
        axes.set_axis_off()
    for method, steps, axes in zip(methods, paths, panels, strict=False):
        words = textwrap.fill(short(method.title, 2 * _HEADING), _HEADING + 2)
        axes.set_title(words, fontweight="normal", size=10)
        if steps is None:
            message(axes, method.reason or "no path was stored", width=24)
            continue
        _square(axes, centre, half)
        path = method.arrays[f"path_k{steps}"][:, :_PATHS]
        axes.scatter(*reference[:_REFERENCE_POINTS].T, s=8, color="#eceff2", linewidths=0, rasterized=True)
        _lines(axes, teacher, colors=MUTED, linewidths=1.0)
        _lines(axes, path, colors=method.colour, linewidths=1.0, alpha=0.9)
        axes.scatter(*path[1:-1].reshape(-1, 2).T, s=5, color=method.colour, linewidths=0, rasterized=True)
        axes.scatter(*path[0].T, s=12, facecolor="white", edgecolor=MUTED, linewidths=0.8, zorder=3, rasterized=True)
        axes.scatter(*path[-1].T, s=14, color=method.colour, linewidths=0, zorder=3, rasterized=True)
    return figure


def mosaic(images: np.ndarray) -> np.ndarray:
    """Images ``(n, C, H, W)`` in [-1, 1] side by side with gaps, ``(H, n W + gaps, 3 or 4)`` in [0, 1]."""
    count, channels, height, width = images.shape
    pixels = np.clip((images.astype(np.float64) + 1) / 2, 0, 1).transpose(0, 2, 3, 1)
    if channels == 1:
        pixels = np.repeat(pixels, 3, axis=3)
    gap = max(1, round((_PITCH - 1) * width))
    strip = np.zeros((height, count * width + (count - 1) * gap, 4))
    for i, image in enumerate(pixels):
        left = i * (width + gap)
        strip[:, left : left + width] = np.concatenate([image[..., :3], np.ones((height, width, 1))], axis=2)
    return strip


@styled
def image_grid(title: str, teacher: np.ndarray | None, methods: Sequence[Sampled], budgets: Sequence[int]) -> Figure:
    """A row per method and a column per step budget, with a few images from the same noises in every cell.

    The teacher's rows stand together on top, a little apart from those of the students that are compared with them: the
    fine solution, which is the same in every column, and the Euler steps.

    Args:
        title: the problem's title.
        teacher: the fine ODE's solutions, ``(P, C, H, W)`` in [-1, 1], one per noise; None if there are none.
        methods: rows below it, the teacher's own (without a mark) first; their arrays ``k<steps>`` ``(P, C, H, W)``
            are drawn.
        budgets: step budgets.
    """
    lines = len(methods) + 1 + _BETWEEN
    available = 14 if teacher is None else len(teacher)
    # The fewer budgets side by side, the more images in a cell, as long as the page is high enough for them.
    for across in range(min(ACROSS[0], len(budgets)), min(ACROSS[1], len(budgets)) + 1):
        down = -(-len(budgets) // across)
        count = min(IMAGES // across, available)
        tallest = (MAX_HEIGHT - 0.5 - 0.35 * down) / (down * lines * _PITCH)
        # Rows with room for one line of text only need a wider column of names.
        chars = 17 if tallest > 0.3 else min(36, max(17, *(len(method.title) for method in methods)))
        label = 0.25 + 0.07 * chars
        widest = (WIDTH - label - 0.1 * across) / (across * count * _PITCH)
        if widest <= tallest:
            break
    cell = min(widest, tallest)
    height = down * (lines * cell * _PITCH + 0.35) + 0.5
    figure = Figure(figsize=(WIDTH, height))
    figure.suptitle(
        short(f"{title}: the same noises in every cell", 60), x=0.01, y=1 - 0.08 / height, ha="left", va="top"
    )
    strip = cell * count * _PITCH
    fine = {} if teacher is None else {f"k{k}": teacher for k in budgets}
    every = [Sampled("Teacher, fine ODE", None, fine, reason="the teacher failed"), *methods]
    for block, k in enumerate(budgets):
        left = label + (block % across) * (strip + 0.1)
        top = height - 0.34 - (block // across) * (lines * cell * _PITCH + 0.35)
        heading = "1 step" if k == 1 else f"{k} steps"
        figure.text(left / WIDTH, (top - 0.06) / height, heading, va="top")
        for i, method in enumerate(every):
            bottom = top - 0.3 - (i + 1 + _BETWEEN * (method.mark is not None)) * cell * _PITCH
            axes = figure.add_axes((left / WIDTH, bottom / height, (strip - 0.04) / WIDTH, cell / height))
            axes.set_axis_off()
            images = method.arrays.get(f"k{k}")
            if images is None:
                text = textwrap.fill(short(method.reason or "no samples", 90), 46)
                axes.text(0, 0.5, text, transform=axes.transAxes, va="center", size=7.5, color=MUTED)
            else:
                axes.imshow(mosaic(images[:count]), interpolation="nearest", aspect="equal")
                axes.set_anchor("W")
            if block % across == 0:
                text = textwrap.fill(short(method.title, 32), 17) if chars == 17 else short(method.title, chars)
                figure.text(0.01, (bottom + cell / 2) / height, text, va="center", size=9)
    return figure
