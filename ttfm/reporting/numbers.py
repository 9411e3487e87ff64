"""Numbers as a reader sees them: few digits, the same number of decimals down a table, never an empty zero."""

from __future__ import annotations

import math
from collections.abc import Iterable


def decimals(values: Iterable[float]) -> int:
    """Decimals that give the smallest non-zero value three significant digits, between 0 and 6.

    Args:
        values: the numbers of one table; non-finite ones are ignored.
    """
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    if not sizes:
        return 3
    return min(6, max(0, 2 - math.floor(math.log10(min(sizes)))))


def number(value: float, places: int, size: float | None = None) -> str:
    """``value`` with ``places`` decimals, fewer where that would print more than four significant digits.

    Args:
        value: the number; "" for NaN.
        places: decimals of the table it stands in.
        size: number whose magnitude decides (the mean, for its half-width); ``value`` itself by default.
    """
    if math.isnan(value):
        return ""
    if value == 0:
        return "0"
    own = size is None
    size = abs(value if size is None else size)
    if math.isinf(value) or size >= 1e5:
        return f"{value:.2e}"
    if size > 0:
        places = min(places, max(0, 3 - math.floor(math.log10(size))))
    text = f"{value:.{places}f}"
    if float(text) == 0:
        # A half-width too small for the table's decimals is a bound; a value of its own keeps its magnitude.
        return f"{value:.0e}" if own else f"< {10.0**-places:.{places}f}"
    return text


def compact(value: float) -> str:
    """``value`` with three significant digits for running text: 0.0831, 12.4, 118, 31,400."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.1e}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def with_interval(mean: float, ci: float) -> tuple[str, str]:
    """``compact(mean)`` and the half-width with as many decimals; "" for an unknown one."""
    text = compact(mean)
    if math.isnan(ci) or "e" in text:
        return text, "" if math.isnan(ci) else compact(ci)
    places = len(text.partition(".")[2])
    half = f"{ci:,.{places}f}"
    return text, half if float(half.replace(",", "")) or ci == 0 else f"{ci:.0e}"


def duration(seconds: float) -> str:
    """Seconds as words: "48 s", "3 min 20 s", "2 h 05 min"."""
    if not math.isfinite(seconds):
        return "unknown"
    whole = round(seconds)
    if whole < 1:
        return f"{seconds:.2f} s"
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def listed(names: Iterable[str]) -> str:
    """Names as a sentence lists them: "A", "A and B", "A, B and C"."""
    items = list(names)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def some(names: Iterable[str], most: int = 8) -> str:
    """``listed``, but of more than ``most`` names only the first and how many follow: "A, B and 7 others"."""
    items = list(names)
    return listed(items if len(items) <= most else [*items[: most - 1], f"{len(items) - most + 1} others"])


def plural(count: int, word: str) -> str:
    """A count with its noun: "1 seed", "3 seeds"."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
