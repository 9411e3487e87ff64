from __future__ import annotations

import os

import numpy as np
import pytest
import torch
import torch_fidelity
from safetensors.torch import save_file

from ttfm.evaluation import features, weights
from ttfm.evaluation.extractors.inception import InceptionExtractor
from ttfm.evaluation.scores import inception_score


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """The whole network with random weights, as a file without pickled code."""
    folder = tmp_path_factory.mktemp("inception")
    save_file({}, folder / "empty.safetensors")

    class Empty(InceptionExtractor):
        absent = ("Conv", "Mixed", "fc.")

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Empty("inception-v3-compat", ["2048"], folder / "empty.safetensors")
    save_file(network.state_dict(), folder / "whole.safetensors")
    trunk = {key: value for key, value in network.state_dict().items() if not key.startswith(("Mixed_7", "fc."))}
    save_file(trunk, folder / "trunk.safetensors")
    return folder


class Images(torch.utils.data.Dataset):
    """Bytes as torch-fidelity reads them."""

    def __init__(self, pixels: np.ndarray):
        self.pixels = torch.from_numpy(pixels)

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.pixels[index]


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)


def test_the_network_gives_features_and_logits_without_bias(untrained):
    found = features.extract(images(), "inception-v3-compat", untrained / "whole.safetensors")
    assert found["2048"].shape == (3, 2048) and found["logits_unbiased"].shape == (3, 1008)
    head = weights.load(untrained / "whole.safetensors")["fc.weight"].numpy()
    np.testing.assert_allclose(found["logits_unbiased"], found["2048"] @ head.T, rtol=1e-3, atol=1e-4)


def test_the_trunk_is_the_same_network_cut_off(untrained):
    from torch_fidelity.utils import create_feature_extractor

    found = features.extract(images(), "inception-keras-768", untrained / "trunk.safetensors")["768"]
    settings = {"feature_extractor_weights_path": untrained / "whole.safetensors", "verbose": False}
    whole = create_feature_extractor("inception-v3-compat", ["768"], cuda=False, **settings)
    np.testing.assert_array_equal(found, whole(torch.from_numpy(images()))[0].numpy())


def test_torch_fidelitys_own_inception_score_is_the_same_number(untrained):
    few = images(20)
    found = torch_fidelity.calculate_metrics(
        input1=Images(few),
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(untrained / "whole.safetensors"),
        isc=True,
        isc_splits=10,
        rng_seed=0,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    logits = features.extract(few, "inception-v3-compat", untrained / "whole.safetensors")["logits_unbiased"]
    assert inception_score(logits) == pytest.approx(found["inception_score_mean"], rel=1e-6)


def test_weights_of_another_network_are_named(untrained):
    with pytest.raises(ValueError, match=r"trunk\.safetensors: not the weights of inception-v3-compat"):
        features.extract(images(), "inception-v3-compat", untrained / "trunk.safetensors")
    with pytest.raises(ValueError, match=r"empty\.safetensors: not the weights of inception-keras-768"):
        features.extract(images(), "inception-keras-768", untrained / "empty.safetensors")


def test_building_leaves_global_randomness_alone(untrained):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    features.extract(images(1), "inception-keras-768", untrained / "trunk.safetensors")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.skipif(not os.environ.get(weights.ENVIRONMENT), reason=f"the real trunk is in {weights.ENVIRONMENT}")
def test_the_real_trunk_tells_images_apart():
    path = weights.find(weights.INCEPTION_KERAS)
    flat = np.full((1, 3, 32, 32), 128, dtype=np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    found = features.extract(np.concatenate([flat, noise]), "inception-keras-768", path)["768"]
    apart = np.linalg.norm(found[:, None] - found[None], axis=2)
    assert apart[0, 1] > 2 * apart[1, 2] > 0
