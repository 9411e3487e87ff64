from __future__ import annotations

import math

import pytest

from ttfm.reporting import numbers


@pytest.mark.parametrize(
    ("values", "places"),
    [([0.083, 1.2], 4), ([2.4, 30.0], 2), ([118.0], 0), ([1e-9], 6), ([], 3), ([math.nan, 0.0], 3), ([-0.002, 5], 5)],
)
def test_decimals_follow_the_smallest_value(values, places):
    assert numbers.decimals(values) == places


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (0.0831, 4, "0.0831"),
        (1.23456, 4, "1.235"),
        (123.456, 4, "123.5"),
        (0.0, 3, "0"),
        (4e-6, 3, "4e-06"),
        (-0.0004, 4, "-0.0004"),
        (3.2e7, 2, "3.20e+07"),
        (math.nan, 2, ""),
    ],
)
def test_number(value, places, text):
    assert numbers.number(value, places) == text


def test_a_half_width_has_the_decimals_of_its_mean():
    assert numbers.number(0.01234, 4, size=123.4) == "< 0.1"
    assert numbers.number(0.00001234, 4) == "1e-05"
    assert numbers.number(3.14159, 4, size=123.4) == "3.1"
    assert numbers.with_interval(117.3, 10.6) == ("117", "11")
    assert numbers.with_interval(0.0831, 0.00512) == ("0.0831", "0.0051")
    assert numbers.with_interval(0.0831, math.nan) == ("0.0831", "")


@pytest.mark.parametrize(
    ("value", "text"), [(0.08312, "0.0831"), (12.44, "12.4"), (31400.0, "31,400"), (0.0, "0"), (2e-5, "2.0e-05")]
)
def test_compact(value, text):
    assert numbers.compact(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.25 s"), (48.2, "48 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (math.nan, "unknown")],
)
def test_duration(seconds, text):
    assert numbers.duration(seconds) == text


def test_lists_and_plurals():
    assert [numbers.listed("ABC"[:n]) for n in range(4)] == ["", "A", "A and B", "A, B and C"]
    assert [numbers.plural(n, "seed") for n in (1, 3)] == ["1 seed", "3 seeds"]
