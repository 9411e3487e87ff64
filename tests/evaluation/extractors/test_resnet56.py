from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ttfm.evaluation import features, weights
from ttfm.evaluation.extractors import resnet56

CIFAR = Path(os.environ.get(weights.ENVIRONMENT, "-")) / "data" / "cifar10" / "test-00000-of-00001.parquet"


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory) -> Path:
    """Random weights, and statistics of batch norm that are not the identity."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = resnet56.ResNet56()
        for name, value in model.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(std=0.1)
    path = tmp_path_factory.mktemp("resnet56") / "resnet56.safetensors"
    save_file(model.state_dict(), path)
    return path


def test_the_shortcut_strides_and_adds_zero_channels_on_both_sides():
    block = resnet56.Block(16, 32, 2).eval()
    torch.nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 16, 8, 8)
    out = block(x)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any() and not out[:, 24:].any()


def test_it_has_56_layers_with_weights():
    layers = [m for m in resnet56.ResNet56().modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    assert len(layers) == 56


def test_features_do_not_depend_on_the_batch_and_feed_the_logits(weights_file):
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    found = features.extract(images, "cifar-resnet56", weights_file)["64"]
    assert found.shape == (5, 64) and (found >= 0).all() and found.std() > 0
    again = features.extract(images, "cifar-resnet56", weights_file, batch=2)["64"]
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-5)
    model = resnet56.load(weights_file)
    logits = model(resnet56.normalised(torch.from_numpy(images)))
    torch.testing.assert_close(logits, model.linear(torch.from_numpy(found)), rtol=1e-4, atol=1e-4)


def test_other_sizes_and_other_weights_are_refused(weights_file, tmp_path):
    with pytest.raises(ValueError, match=r"are needed, not torch.uint8 \(1, 3, 28, 28\): cifar-resnet56"):
        features.extract(np.zeros((1, 1, 28, 28), dtype=np.uint8), "cifar-resnet56", weights_file)
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors: not the weights of the CIFAR-10 ResNet-56"):
        resnet56.load(tmp_path / "other.safetensors")


@pytest.mark.skipif(not CIFAR.is_file(), reason=f"CIFAR-10 is looked for where {weights.ENVIRONMENT} says")
def test_the_real_weights_class_real_images():
    parquet = pytest.importorskip("pyarrow.parquet")
    from PIL import Image

    count = 400
    rows = next(parquet.ParquetFile(CIFAR).iter_batches(count)).to_pylist()
    decoded = [np.asarray(Image.open(io.BytesIO(row["img"]["bytes"])).convert("RGB")) for row in rows]
    pixels = torch.from_numpy(np.stack(decoded).transpose(0, 3, 1, 2))
    model = resnet56.load(weights.find(weights.CIFAR_RESNET56))
    with torch.no_grad():
        found = torch.cat([model(resnet56.normalised(piece)).argmax(1) for piece in pixels.split(100)])
    accuracy = (found == torch.tensor([row["label"] for row in rows])).double().mean().item()
    # 93.39 % of all 10,000: four standard errors of a share of 400 below it.
    assert accuracy > 0.9339 - 4 * (0.9339 * 0.0661 / count) ** 0.5
