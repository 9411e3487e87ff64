"""Noise belongs to a sample's index."""

import pytest
import torch

from ttfm.seeds import BLOCK, indexed_labels, indexed_noise


@pytest.mark.parametrize(("start", "end"), [(0, 700), (1, 2), (255, 257), (256, 512), (600, 700), (300, 300)])
def test_a_part_of_the_noise_is_that_part_of_the_whole(start, end):
    whole = indexed_noise(3, 700, (2, 3), "stream", 1)
    part = indexed_noise(3, end, (2, 3), "stream", 1, start)
    assert torch.equal(part, whole[start:end])
    assert BLOCK == 256


def test_equal_classes_come_in_turn_and_others_as_often_as_in_the_data():
    assert indexed_labels(7, 3).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert indexed_labels(3, 3, 2).tolist() == [2, 0, 1]
    for count in (10, 100, 1000):
        found = torch.bincount(indexed_labels(count, 4, counts=[60, 0, 30, 10]), minlength=4) / count
        assert found[1] == 0
        assert (found - torch.tensor([0.6, 0.0, 0.3, 0.1])).abs().max() < 2 / count + 1e-6
    whole = indexed_labels(1000, 2, counts=[9, 1])
    assert torch.equal(torch.cat([indexed_labels(300, 2, 0, [9, 1]), indexed_labels(700, 2, 300, [9, 1])]), whole)
