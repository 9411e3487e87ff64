"""The latents step by itself, and what decodes by what it wrote."""

import json

import numpy as np
import pytest
import torch

from tests.latent import tiny
from ttfm.cli import main
from ttfm.data.arrays import Split, write_images
from ttfm.data.latents import read_latents
from ttfm.evaluation.quantisation import quantise
from ttfm.steps.decoding import decoder, image_shape, load_autoencoder

LATENT = {"autoencoder": "tiny", "sha256": None, "channels": 2, "factor": 2, "scale": None, "shift": None}


@pytest.fixture
def planned(tmp_path):
    """A set of images, an autoencoder, and a function that runs the step with these keys changed."""
    draw = np.random.default_rng(0).integers
    splits = {
        name: Split(draw(0, 256, (count, 3, 8, 8), dtype=np.uint8)) for name, count in (("train", 7), ("test", 3))
    }
    write_images(tmp_path / "images", splits, 255, 0, "drawn")
    tiny.save(tmp_path / "tiny", colours=3)

    def step(flips=True, **latent):
        entry = LATENT | {"posterior": "sample", "images": [3, 8, 8]} | latent
        config = {"experiment": "e", "problem": "p", "device": "cpu", "shape": [2, 4, 4], "latent": entry}
        (tmp_path / "latents.json").write_text(json.dumps(config | {"flips": flips, "assets": str(tmp_path)}))
        out = f"--out {tmp_path}/latents --record {tmp_path}/record.json"
        main(f"latents --config {tmp_path}/latents.json --images {tmp_path}/images {out}".split())
        return config, splits

    return tmp_path, step


def test_mirrored_images_are_encoded_too_and_test_images_decoded_again(planned):
    folder, step = planned
    config, splits = step()
    latents = read_latents(folder / "latents").latents
    assert latents.shape == (2, 7, 2, 2, 4, 4) and latents.dtype == np.float32
    autoencoder = load_autoencoder(folder / "latents", "cpu")
    images = torch.from_numpy(splits["train"].images) / 127.5 - 1
    for twin, pictures in enumerate((images, images.flip(-1))):
        for part, values in enumerate(autoencoder.encode(pictures)):
            torch.testing.assert_close(torch.tensor(latents[twin, :, part]), values)
    assert not np.allclose(latents[0, :, 0, ..., ::-1], latents[1, :, 0])
    decode = decoder(config, folder / "latents", "cpu")
    mean, _ = autoencoder.encode(torch.from_numpy(splits["test"].images) / 127.5 - 1)
    again = np.load(folder / "latents" / "test-reconstructed.npy")
    np.testing.assert_array_equal(again, quantise(decode(mean)))
    assert image_shape(config) == [3, 8, 8]


def test_means_alone_are_half_of_it(planned):
    folder, step = planned
    step(flips=False, posterior="mean")
    assert read_latents(folder / "latents").latents.shape == (1, 7, 1, 2, 4, 4)


@pytest.mark.parametrize(
    ("latent", "message"),
    [
        ({"autoencoder": "another"}, "the autoencoder 'another': there is no folder"),
        ({"sha256": "0123"}, "expected sha256 0123, found"),
        ({"factor": 4}, "latent.factor: 4, and the autoencoder has 2"),
    ],
)
def test_a_mistake_is_one_message_and_loses_nothing_finished(planned, capsys, latent, message):
    folder, step = planned
    step()
    with pytest.raises(SystemExit):
        step(**latent)
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told
    assert read_latents(folder / "latents").latents.shape[1] == 7


def test_latents_cannot_be_decoded_by_a_folder_of_images(planned):
    folder, step = planned
    config, _ = step()
    with pytest.raises(ValueError, match="the problem is in latent space; give --images, the folder that"):
        decoder(config, folder / "images", "cpu")
    plain = decoder({"shape": [3, 8, 8]}, None, "cpu")
    assert plain(torch.ones(2, 3, 8, 8)).equal(torch.ones(2, 3, 8, 8))
