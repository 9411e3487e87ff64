"""One colour and one marker per student, the same in every figure and on the page.

Colours follow the display order of ``experiment.json`` and are told apart with every common colour-vision deficiency;
the marker says the same thing again without colour. No plotting library is imported here: the page uses it too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

# seaborn's "colorblind" palette without its yellow, pale pink and grey, which vanish on white or mean "reference" here.
COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#56b4e9", "#7a4fb0")
ON_DARK = ("#4ba9e6", "#f0a93a", "#35c79c", "#ff8742", "#e29bd4", "#dcb48d", "#86cdf5", "#a98ae0")
"""The same hues, lighter, for dark backgrounds; in the order of ``COLOURS``."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
SHAPES = {
    "o": "M4.2 0A4.2 4.2 0 1 1-4.2 0A4.2 4.2 0 1 1 4.2 0Z",
    "s": "M-3.8-3.8H3.8V3.8H-3.8Z",
    "^": "M0-4.6L4.6 3.7H-4.6Z",
    "D": "M0-5L5 0 0 5-5 0Z",
    "v": "M0 4.6L4.6-3.7H-4.6Z",
    "P": "M-1.7-4.6H1.7V-1.7H4.6V1.7H1.7V4.6H-1.7V1.7H-4.6V-1.7H-1.7Z",
    "X": "M-2.4-4.6L0-2.2 2.4-4.6 4.6-2.4 2.2 0 4.6 2.4 2.4 4.6 0 2.2-2.4 4.6-4.6 2.4-2.2 0-4.6-2.4Z",
    "p": "M0-4.8L4.6-1.5 2.8 3.9H-2.8L-4.6-1.5Z",
    ".": "M2.4 0A2.4 2.4 0 1 1-2.4 0A2.4 2.4 0 1 1 2.4 0Z",
}
"""The markers as SVG paths in a box from -6 to 6, for keys on the page."""

INK, MUTED, GRID, PAPER = "#1f2328", "#656d76", "#e4e7eb", "#ffffff"
"""Text and axes, references, grid lines and background of every figure."""
DARK_INK, DARK_MUTED, DARK_GRID, DARK_PAPER = "#e6e8eb", "#9aa3ad", "#2c3138", "#14171b"
FAINT, DARK_FAINT = "#b3bbc4", "#5b646f"
"""Students in the background, where there are too many for a colour each."""


@dataclass(frozen=True)
class Mark:
    """How a student is drawn: its place in the palette (after the last: in grey), a colour and a matplotlib marker."""

    index: int
    colour: str
    marker: str


BEHIND = Mark(len(COLOURS), FAINT, ".")
"""The mark of every student in the background."""


def marks(students: Iterable[str], shown: Collection[str] | None = None) -> dict[str, Mark]:
    """A mark for each student in display order; the first 64 in colour differ from each other in colour or marker.

    Args:
        students: all students.
        shown: those in colour; None for all.
    """
    size = len(COLOURS)
    found: dict[str, Mark] = {}
    i = 0
    for name in students:
        if shown is not None and name not in shown:
            found[name] = BEHIND
            continue
        found[name] = Mark(i % size, COLOURS[i % size], MARKERS[(i + i // size) % len(MARKERS)])
        i += 1
    return found


def for_dark(svg: str) -> str:
    """The text of an SVG figure of this package, recoloured for a dark background."""
    light = (*COLOURS, INK, MUTED, GRID, PAPER, FAINT)
    dark = (*ON_DARK, DARK_INK, DARK_MUTED, DARK_GRID, DARK_PAPER, DARK_FAINT)
    for before, after in zip(light, dark, strict=True):
        svg = svg.replace(before, after)
    return svg
