"""Images to latents and back: shapes, scale and shift, files that are missing or do not fit."""

import json

import numpy as np
import pytest
import torch

from tests.latent import tiny
from ttfm.latent import autoencoder as module
from ttfm.latent.autoencoder import load_pretrained, restore
from ttfm.latent.finding import CONFIG, WEIGHTS, AutoencoderUnavailable, config_faults, find, scale_and_shift

ENTRY = {"autoencoder": "tiny", "channels": 2, "factor": 2, "scale": None, "shift": None}
IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets") / "weights" / "tiny"
    tiny.save(folder)
    return folder


def test_latents_are_the_encoders_scaled_and_shifted_and_decode_again(folder):
    found = load_pretrained(folder, ENTRY, 1)
    with torch.no_grad():
        posterior = found.model.encode(IMAGES).latent_dist
        images = found.model.decode(posterior.mean).sample
    mean, deviation = found.encode(IMAGES)
    torch.testing.assert_close(mean, (posterior.mean - 0.25) * 0.5)
    torch.testing.assert_close(deviation, posterior.std * 0.5)
    assert mean.shape == (5, 2, 4, 4) and not mean.requires_grad
    torch.testing.assert_close(found.decode(mean), images)
    given = load_pretrained(folder, ENTRY | {"scale": 2.0, "shift": 0.0}, 1)
    torch.testing.assert_close(given.encode(IMAGES)[0], 2 * posterior.mean)
    torch.testing.assert_close(given.decode(2 * posterior.mean), images)


def test_pieces_change_nothing(folder, monkeypatch):
    found = load_pretrained(folder, ENTRY, 1)
    whole = found.encode(IMAGES)[0]
    monkeypatch.setattr(module, "PIXELS", 2 * 64)
    torch.testing.assert_close(found.encode(IMAGES)[0], whole)
    assert found.decode(whole).shape == IMAGES.shape


def test_weights_come_back_without_diffusers_files(folder, tmp_path):
    from ttfm.steps.stored import save_tensors

    found = load_pretrained(folder, ENTRY, 1)
    save_tensors(tmp_path / "kept.safetensors", found.model.state_dict(), {})
    again = restore(tmp_path / "kept.safetensors", found.config, found.scale, found.shift, "cpu")
    assert torch.equal(again.decode(again.encode(IMAGES)[0]), found.decode(found.encode(IMAGES)[0]))


def test_damaged_or_other_weights_are_named(folder, tmp_path):
    for name in (CONFIG, WEIGHTS):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{WEIGHTS}: not the weights of the autoencoder in config.json"):
        load_pretrained(tmp_path, ENTRY, 1)


def test_a_folder_is_found_by_its_path_and_among_the_assets_and_in_the_hubs_cache(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("TTFM_ASSETS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assets = str(folder.parents[1])
    assert find(str(folder), None) == folder
    assert find("tiny", assets) == find("someone/tiny", assets) == find("weights/tiny", assets) == folder
    monkeypatch.setenv("TTFM_ASSETS", assets)
    assert find("tiny", None) == folder
    with pytest.raises(
        AutoencoderUnavailable, match=r"'someone/other': there is no folder .* key assets or in TTFM_AS"
    ):
        find("someone/other", None)
    with pytest.raises(AutoencoderUnavailable, match="'no such name'"):
        find("no such name", None)
    cached = tmp_path / "models--someone--other"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc")
    (cached / "snapshots").mkdir()
    tiny.save(cached / "snapshots" / "abc")
    assert find("someone/other", None) == cached / "snapshots" / "abc"


def test_a_folder_with_pickled_weights_alone_is_refused(folder, tmp_path):
    (tmp_path / CONFIG).write_bytes((folder / CONFIG).read_bytes())
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(AutoencoderUnavailable, match=rf"{WEIGHTS} missing; .* pickled weights are not read"):
        find(str(tmp_path), None)


@pytest.mark.parametrize(
    ("entry", "config", "colours", "message"),
    [
        ({"factor": 8}, {}, 1, "factor: 8, and the autoencoder has 2"),
        ({"channels": 4}, {}, 1, "channels: 4, and the autoencoder has 2"),
        ({}, {}, 3, "autoencoder: it takes images of 1 channels, and these have 3"),
        ({}, {"_class_name": "VQModel"}, 1, "autoencoder: 'tiny' is of class 'VQModel'; it must be 'AutoencoderKL'"),
        ({}, {"latents_mean": [0.0, 1.0]}, 1, "scale: the autoencoder has one for each channel"),
    ],
)
def test_an_autoencoder_that_does_not_fit(folder, entry, config, colours, message):
    content = json.loads((folder / CONFIG).read_text()) | config
    (fault,) = config_faults(ENTRY | entry, content, colours)
    assert fault.startswith(message)


def test_scale_and_shift_are_the_autoencoders_unless_the_experiment_says_otherwise():
    config = {"scaling_factor": 0.18215, "shift_factor": None}
    assert scale_and_shift(ENTRY, config) == (0.18215, 0.0)
    assert scale_and_shift(ENTRY | {"scale": 2.0, "shift": 1.0}, config) == (2.0, 1.0)


def test_without_diffusers_the_message_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[latent\]'"):
        load_pretrained(folder, ENTRY, 1)


def test_latents_are_finite(tmp_path):
    from ttfm.data.latents import write_latents

    bad = np.full((2, 1, 2, 4, 4), np.nan, np.float32)
    with pytest.raises(ValueError, match="not finite"):
        write_latents(tmp_path, [bad], (1, 2, 1, 2, 4, 4), None)


def test_names_that_layers_had_in_older_files_are_known(folder, tmp_path):
    """Published autoencoders, those of Stable Diffusion among them, were saved with these."""
    from safetensors.torch import load_file, save_file

    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for name, value in load_file(folder / WEIGHTS).items():
        for new, old in older.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        state[name] = value
    assert any("proj_attn" in name for name in state)
    (tmp_path / CONFIG).write_bytes((folder / CONFIG).read_bytes())
    save_file(state, tmp_path / WEIGHTS)
    old, new = (load_pretrained(path, ENTRY, 1).decode(torch.ones(1, 2, 4, 4)) for path in (tmp_path, folder))
    assert torch.equal(old, new)
