"""What a step costs, of losses whose steps are not all alike."""

import pytest
import torch

from ttfm.data.densities import Ring
from ttfm.losses.alphaflow import AlphaFlow
from ttfm.losses.fm import FlowMatching
from ttfm.networks.mlp import MLP
from ttfm.steps.timing import STEPS, _steps, typical
from ttfm.training.trainer import Trainer, TrainingOptions


def test_equal_rounds_are_summed_up_by_their_median():
    assert typical([(1.0, (8,)), (1.2, (8,)), (90.0, (8,))]) == 1.2


def test_rounds_of_other_passes_count_by_their_number():
    rounds = [(1.0, (8, 0)), (1.0, (8, 0)), (50.0, (8, 0)), (3.0, (8, 8))]
    assert typical(rounds) == pytest.approx((3 * 1.0 + 3.0) / 4)


@pytest.mark.parametrize(("loss", "kinds"), [(FlowMatching(), 1), (AlphaFlow(schedule="linear", clamp=0.2), 3)])
def test_a_schedule_shows_in_the_passes(loss, kinds):
    """Alpha-flow is flow matching at first, then looks ahead, and takes a derivative at last."""
    torch.manual_seed(0)
    options = TrainingOptions(20 * STEPS + 1, 16, probe_every=0)
    steps = _steps(Trainer(MLP((2,), 8, 2), loss, Ring(), None, options, 0), "cpu")
    passes = [next(steps)[1] for _ in range(20)]
    # Rounds in which one kind of step gives way to the next are kinds of their own.
    often = {kind for kind in passes if passes.count(kind) > 1}
    assert len(often) == kinds
