"""What is consistency distillation's own; all that holds for every loss is in test_generic."""

import torch

from ttfm.losses.cd import ConsistencyDistillation


def test_the_grid_runs_from_noise_to_data():
    times = ConsistencyDistillation().times(torch.device("cpu"), torch.float64)
    assert len(times) == 18
    assert times[0] == 0
    assert times[-1] == 1
    assert (times.diff() > 0).all()
