from __future__ import annotations

import pandas as pd

from tests.reporting.test_summary import rows
from ttfm.reporting.summary import summarise
from ttfm.reporting.yardstick import against_euler

NAMES = ("itvm", "lfmd", "c", "d", "e", "f", "g")
EXPERIMENT = {
    "budgets": [1, 4],
    "problems": {"digits": {"title": "Digits", "headline": "fd-digits", "seeds": [0, 1, 2]}},
    "students": {name: {"title": name.upper()} for name in NAMES},
}
FRECHET = {"problem": "digits", "metric": "fd-digits"}
LPIPS = {"problem": "digits", "metric": "lpips-squeeze"}
START = (
    "Fréchet distance (digits) (lower is better) against the teacher's k Euler steps, which are one value without an "
    "interval over seeds: "
)


def said(*tables: pd.DataFrame) -> list[str]:
    return against_euler(summarise(pd.concat(tables), EXPERIMENT), EXPERIMENT, "digits")


def near(level: float) -> list[float]:
    """Three seeds with an interval of ± 0.25 around ``level``."""
    return [level - 0.1, level, level + 0.1]


def test_every_student_at_one_step_and_two_at_four():
    """All that a reader needs who asks for all students at 1 step, and for ITVM and LFMD at 4 steps."""
    levels = dict.fromkeys(NAMES, near(1.0))
    later = levels | {"itvm": near(0.5), "lfmd": near(0.6)}
    found = said(
        rows(levels | {"teacher_euler": [2.0]}, **FRECHET),
        rows(later | {"teacher_euler": [0.9]}, steps=4, **FRECHET),
    )
    assert found == [
        f"{START}at 1 step (teacher 2.00) the 95 % intervals of all 7 students lie below it; at 4 steps (teacher 0.900)"
        " the 95 % intervals of ITVM and LFMD lie below it and those of the other 5 hold it."
    ]


def test_a_better_mean_is_not_a_clear_one():
    values = {"itvm": near(1.0), "lfmd": near(1.9), "c": near(3.0), "teacher_euler": [2.0]}
    assert said(rows(values, **FRECHET)) == [
        f"{START}at 1 step (teacher 2.00) the 95 % interval of ITVM lies below it, that of LFMD holds it and that of C "
        "lies above it."
    ]


def test_lpips_has_a_sentence_of_its_own_and_other_metrics_none():
    values = {"itvm": near(1.0), "teacher_euler": [2.0]}
    pixels = rows(values, problem="digits", metric="l2")
    found = said(rows(values, **FRECHET), rows(values, **LPIPS), pixels)
    assert found[1:] == [
        "LPIPS (SqueezeNet) (lower is better) against the teacher's k Euler steps: at 1 step (teacher 2.00) the 95 % "
        "interval of ITVM lies below it."
    ]


def test_one_seed_has_no_interval_to_be_clear_with():
    values = {"itvm": near(1.0), "lfmd": [1.0], "c": [3.0], "teacher_euler": [2.0]}
    assert said(rows(values, **FRECHET))[0].endswith(
        "the 95 % interval of ITVM lies below it, and of one seed, and so without an interval, LFMD below and C above "
        "it."
    )
    assert said(rows({"lfmd": [1.0], "teacher_euler": [2.0]}, **FRECHET))[0].endswith(
        "at 1 step (teacher 2.00) of one seed, and so without an interval, LFMD below it."
    )


def test_another_protocol_is_not_compared():
    tables = rows({"itvm": near(1.0), "teacher_euler": [2.0]}, **FRECHET), rows({"c": near(1.0)}, N=7, **FRECHET)
    assert said(*tables)[0].endswith(
        "the 95 % interval of ITVM lies below it, and not compared, because scored by another protocol: C."
    )


def test_nothing_without_the_teachers_value_or_a_student():
    assert said(rows({"itvm": near(1.0)}, **FRECHET)) == []
    assert said(rows({"itvm": [None], "teacher_euler": [2.0]}, **FRECHET)) == []
    assert said(rows({"itvm": near(1.0), "teacher_euler": [None]}, **FRECHET)) == []
