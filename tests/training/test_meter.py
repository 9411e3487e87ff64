"""Values are summed as they were, and the first that is not finite is named however late somebody looks."""

import pytest
import torch

from ttfm.training.meter import Meter, NonFiniteError


def test_sums_do_not_depend_on_when_one_looks():
    late, soon = Meter(0), Meter(0)
    for step in range(1, 8):
        values = torch.rand(2, generator=torch.Generator().manual_seed(step))
        for meter in (late, soon):
            meter.add(step, ["loss", "a", "b"], torch.cat([values.sum()[None], values]))
        soon.look()
    assert late.sums == {}
    late.look()
    assert late.sums == soon.sums and list(late.sums) == ["loss", "a", "b"]


def test_the_first_fault_is_named_with_its_step_after_the_fact():
    meter = Meter(seed=3)
    for step, value in enumerate((1.0, 2.0, float("nan"), float("inf")), 1):
        meter.add(step, ["loss", "a", "b"], torch.tensor([value, 1.0, value]))
    with pytest.raises(NonFiniteError, match=r"term 'b' at step 3 \(seed 3\)") as error:
        meter.look()
    assert error.value.step == 3
