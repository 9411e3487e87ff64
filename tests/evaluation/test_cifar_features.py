"""Fréchet distances of real CIFAR-10 images by a classifier's features: what is alike is near, what is spoilt is far.

Needs the images and the weights in the folder that TTFM_ASSETS names. `--slow` takes all 50,000 training images, some
twenty minutes of one core.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ttfm.data import cifar10
from ttfm.evaluation import features
from ttfm.evaluation.scores import frechet_distance

ASSETS = Path(os.environ.get("TTFM_ASSETS", "nowhere"))
WEIGHTS = ASSETS / "weights" / "cifar10_resnet56.safetensors"
IMAGES = ASSETS / "data" / "cifar10"
COUNTS = [pytest.param(2000, id="2000"), pytest.param(50000, id="50000", marks=pytest.mark.slow)]
pytestmark = pytest.mark.skipif(not (WEIGHTS.is_file() and IMAGES.is_dir()), reason="TTFM_ASSETS names no such files")


def seen(images):
    """Features of bytes ``(N, 3, 32, 32)``."""
    return features.extract(images, "cifar-resnet56", WEIGHTS)["64"]


def as_bytes(values):
    return values.round().clamp(0, 255).to(torch.uint8).numpy()


@pytest.mark.parametrize("count", COUNTS)
def test_halves_are_near_and_noise_and_blur_are_far(count):
    images = cifar10.read_split(IMAGES, "train").images[:count]
    found = seen(images)
    other = found[1::2]
    # A Fréchet distance is biased upwards by few samples.
    assert frechet_distance(found[::2], other) < (0.2 if count == 50000 else 0.4)
    half = torch.from_numpy(np.ascontiguousarray(images[::2])).float()
    noise = 0.05 * 255 * torch.randn(half.shape, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(seen(as_bytes(half + noise)), other) == pytest.approx(11.7, abs=1.0)
    blurred = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(half, 2), scale_factor=2, mode="bilinear")
    assert frechet_distance(seen(as_bytes(blurred)), other) == pytest.approx(16, abs=2.0)
