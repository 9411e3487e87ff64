"""How much of many large things is held at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

ROOM = 2**24
"""Numbers that are held at once: 128 MiB of float64. 4,096 colour images of 32 x 32 pixels have fewer."""


def at_once(shape: Sequence[int], most: int, room: int = ROOM) -> int:
    """How many entries of an array are taken at once: ``most`` of small ones, fewer of large ones, at least one.

    Args:
        shape: of one entry.
        most: of entries so small that all fit.
        room: numbers that these entries may have together.
    """
    return max(1, min(most, room // max(1, math.prod(shape))))
