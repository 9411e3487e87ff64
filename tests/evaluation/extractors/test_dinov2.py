"""DINOv2's code and weights are elsewhere: how they are asked for, with a network in their place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ttfm.evaluation import features
from ttfm.evaluation.extractors import dinov2
from ttfm.evaluation.weights import AssetUnavailable


class Stand(torch.nn.Module):
    """Channel means through a layer."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 4)

    def forward(self, x):
        assert x.shape[2:] == (224, 224)
        return self.layer(x.mean(dim=(2, 3)))


@pytest.fixture
def weights_file(tmp_path):
    state = {"layer.weight": torch.eye(4)[:, :3].contiguous(), "layer.bias": torch.zeros(4)}
    save_file(state, tmp_path / "dinov2.safetensors")
    return tmp_path / "dinov2.safetensors"


def test_code_comes_from_a_pinned_commit_and_weights_from_the_checked_file(weights_file, monkeypatch):
    asked = []

    def load(*arguments, **settings):
        asked.append((*arguments, settings["pretrained"]))
        return Stand()

    monkeypatch.setattr(torch.hub, "load", load)
    grey = np.full((2, 1, 8, 8), 255, dtype=np.uint8)
    found = features.extract(grey, "dinov2-vits14", weights_file)["dinov2"]
    assert asked == [(dinov2.CODE, "dinov2_vits14", False)]
    assert len(dinov2.CODE.split(":")[1]) == 40
    # White, normalised by ImageNet's mean and deviation.
    white = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225, 0.0]
    np.testing.assert_allclose(found, [white, white], rtol=1e-5)


def test_code_that_cannot_be_had_is_said(weights_file, monkeypatch):
    def refuse(*arguments, **settings):
        raise OSError("no network in tests")

    monkeypatch.setattr(torch.hub, "load", refuse)
    with pytest.raises(AssetUnavailable, match="not in torch hub's cache and could not be downloaded"):
        features.extract(np.zeros((1, 3, 8, 8), dtype=np.uint8), "dinov2-vitl14", weights_file)


def test_other_weights_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "load", lambda *arguments, **settings: Stand())
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors: not the weights of dinov2-vits14"):
        features.extract(np.zeros((1, 3, 8, 8), dtype=np.uint8), "dinov2-vits14", tmp_path / "other.safetensors")
