from __future__ import annotations

import os

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from ttfm.evaluation import weights
from ttfm.evaluation.perceptual import TRUNKS, extractor_name, load_lpips, lpips_distance, mean_lpips
from ttfm.evaluation.quantisation import quantise


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def trunk():
    """An untrained trunk: enough for everything except the values of the published metric."""
    from torchvision.models import squeezenet1_1

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return squeezenet1_1()


@pytest.fixture(scope="module")
def trunk_file(trunk, tmp_path_factory):
    path = tmp_path_factory.mktemp("trunk") / "squeezenet1_1.safetensors"
    save_file(trunk.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def model(trunk_file):
    return load_lpips(trunk_file)


def test_the_published_value_of_the_published_pair():
    if not os.environ.get(weights.ENVIRONMENT):
        pytest.skip(f"the real trunk is looked for only where {weights.ENVIRONMENT} names a folder")
    generator = torch.Generator().manual_seed(123)
    x, y = (torch.rand(10, 3, 100, 100, generator=generator) * 2 - 1 for _ in range(2))
    values = lpips_distance(load_lpips(weights.find(weights.SQUEEZENET)), x, y)
    assert values.mean().item() == pytest.approx(0.1008, abs=5e-5)


def test_the_trunk_is_torchvisions(model, trunk):
    x = images(2, 3, 64, 64)
    torch.testing.assert_close(model.net(x)[-1], trunk.eval().features(x))
    assert not model.training


def test_equal_images_are_at_distance_zero_and_more_noise_is_farther(model):
    x, noise = images(5, 1, 8, 8), images(5, 1, 8, 8, seed=1)
    assert torch.equal(lpips_distance(model, x, x), torch.zeros(5))
    near, far = (lpips_distance(model, x, x + scale * noise) for scale in (0.05, 0.5))
    assert near.shape == (5,)
    assert (near > 0).all() and (near < far).all()


def test_small_grey_images_are_enlarged_and_repeated(model):
    x, y = images(3, 1, 8, 8), images(3, 1, 8, 8, seed=1)
    large = (functional.interpolate(z, size=(32, 32), mode="bilinear", align_corners=False) for z in (x, y))
    expected = model(*(z.repeat(1, 3, 1, 1) for z in large)).flatten()
    torch.testing.assert_close(lpips_distance(model, x, y), expected)


def test_large_images_are_left_as_they_are(model):
    x, y = images(2, 3, 40, 32), images(2, 3, 40, 32, seed=1)
    torch.testing.assert_close(lpips_distance(model, x, y), model(x, y).flatten())


def test_values_repeat_and_do_not_depend_on_the_batch(model):
    x, y = images(9, 1, 8, 8), images(9, 1, 8, 8, seed=1)
    first = lpips_distance(model, x, y)
    assert torch.equal(lpips_distance(model, x, y), first)
    torch.testing.assert_close(lpips_distance(model, x, y, batch=4), first)


def test_inputs_that_are_not_paired_images_are_refused(model):
    with pytest.raises(ValueError, match="one common"):
        lpips_distance(model, images(2, 1, 8, 8), images(3, 1, 8, 8))
    with pytest.raises(ValueError, match=r"not \(2, 2, 8, 8\)"):
        lpips_distance(model, images(2, 2, 8, 8), images(2, 2, 8, 8))
    with pytest.raises(ValueError, match="2 of 2 samples are not finite"):
        lpips_distance(model, images(2, 1, 8, 8) * float("nan"), images(2, 1, 8, 8))


def test_other_weights_are_named(tmp_path, trunk):
    path = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"other\.safetensors: not the weights of SqueezeNet 1.1"):
        load_lpips(path)


def test_building_is_silent_and_leaves_global_randomness_alone(trunk_file, capfd):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_lpips(trunk_file)
    assert torch.equal(torch.rand(3), expected)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("net", "builder"), [("alex", "alexnet"), ("vgg", "vgg16")])
def test_the_other_trunks_are_torchvisions(net, builder, tmp_path):
    import torchvision

    with torch.random.fork_rng():
        torch.manual_seed(0)
        # VGG would spend seconds on its initial weights.
        other = getattr(torchvision.models, builder)(**({"init_weights": False} if net == "vgg" else {}))
    features = {f"features.{name}": value for name, value in other.features.state_dict().items()}
    save_file(features, tmp_path / "trunk.safetensors")
    model = load_lpips(tmp_path / "trunk.safetensors", net)
    x = images(1, 3, 32, 32)
    last = {"alex": 11, "vgg": 29}[net]
    torch.testing.assert_close(model.net(x)[-1], other.eval().features[: last + 1](x))
    assert lpips_distance(model, x, images(1, 3, 32, 32, seed=1)).item() > 0
    assert set(TRUNKS) == {"squeeze", "alex", "vgg"} and extractor_name(net).endswith(net)


def test_the_mean_of_bytes_is_that_of_their_values(model):
    x, y = images(5, 1, 8, 8), images(5, 1, 8, 8, seed=1)
    a, b = quantise(x), quantise(y)
    expected = lpips_distance(model, a.float() / 127.5 - 1, b.float() / 127.5 - 1).mean().item()
    assert mean_lpips(model, a.numpy(), b.numpy(), batch=2) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="one common"):
        mean_lpips(model, a.numpy(), b.numpy()[:3])


def test_the_name_says_package_version_and_trunk():
    assert extractor_name().startswith("lpips 0.") and extractor_name().endswith(" squeeze")
