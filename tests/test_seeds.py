"""Noise belongs to a sample's index."""

import pytest
import torch

from ttfm.seeds import BLOCK, indexed_noise


@pytest.mark.parametrize(("start", "end"), [(0, 700), (1, 2), (255, 257), (256, 512), (600, 700), (300, 300)])
def test_a_part_of_the_noise_is_that_part_of_the_whole(start, end):
    whole = indexed_noise(3, 700, (2, 3), "stream", 1)
    part = indexed_noise(3, end, (2, 3), "stream", 1, start)
    assert torch.equal(part, whole[start:end])
    assert BLOCK == 256
