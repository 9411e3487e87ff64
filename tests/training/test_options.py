"""Options that contradict each other are refused by name, and schedules are the formulas they say."""

import math

import pytest

from ttfm.options import schema_of
from ttfm.training.options import TrainingOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 5, "snapshots": [6]}, "snapshots: 6 is after"),
        ({"schedule": "inverse_sqrt"}, "decay_after: the schedule 'inverse_sqrt'"),
        ({"ema": []}, "ema: .* at least one"),
        ({"ema": [0.9, 0.9]}, "ema: .* each of them once"),
        ({"ema": [0.1, 0.3], "ema_profile": "power"}, "ema: .* relative widths"),
    ],
)
def test_contradictions_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**options)


def test_one_average_or_several():
    assert TrainingOptions(ema=0.9).averages == [0.9]
    assert TrainingOptions(ema=[0.99, 0.9]).averages == [0.99, 0.9]
    assert {"type": "array", "items": {"type": "number", "minimum": 0, "exclusiveMaximum": 1}} in schema_of(
        TrainingOptions
    )["properties"]["ema"]["anyOf"]


def test_schedules_are_their_formulas():
    rates = {
        name: [TrainingOptions(iterations=100, lr=2.0, schedule=name, decay_after=25).learning_rate(k) for k in (0, 50)]
        for name in ("cosine", "linear", "constant", "inverse_sqrt")
    }
    assert rates["cosine"] == pytest.approx([2.0, 1.0])
    assert rates["linear"] == pytest.approx([2.0, 1.0])
    assert rates["constant"] == [2.0, 2.0]
    assert rates["inverse_sqrt"] == pytest.approx([2.0, 2.0 / math.sqrt(2)])
