"""What an experiment may say of a latent space, and what its plan makes of it."""

import copy
from pathlib import Path

import pytest
import yaml

from tests.latent import tiny
from ttfm.experiment import ExperimentError, read_schema
from ttfm.planning import SCHEMA
from ttfm.registry import describe
from ttfm.resolve import resolve

REGISTRY = describe()
SCHEMA_VALUE = read_schema(SCHEMA)
LATENT = {"autoencoder": "somewhere", "channels": 2, "factor": 2}


@pytest.fixture
def config():
    config = yaml.safe_load(Path("workflow/experiments/tiny.yaml").read_text())
    config["problems"]["digits"]["latent"] = dict(LATENT)
    return config


def resolved(config):
    return resolve(copy.deepcopy(config), REGISTRY, SCHEMA_VALUE, "tiny.yaml")


def test_states_are_latents_and_images_are_what_is_measured(config):
    plan = resolved(config)
    latent = LATENT | {"sha256": None, "scale": None, "shift": None, "posterior": "sample"}
    for name in ("teacher", "solution", "baselines", "score", "itvm/0/student", "itvm/evaluate"):
        content = plan.configs[f"digits/{name}.json"]
        assert content["shape"] == [2, 4, 4] and content["latent"] == {"images": [1, 8, 8]} | latent
    assert plan.configs["digits/latents.json"]["flips"] is False
    assert plan.experiment["problems"]["digits"]["shape"] == [1, 8, 8]
    (note,) = plan.experiment["notes"]
    assert note.startswith(
        "Handwritten digits, 8 x 8: teacher and students move between latents of somewhere, 2 x 4 x 4."
    )


def test_a_plan_without_latents_knows_nothing_of_them(config):
    with_latents = resolved(config)
    del config["problems"]["digits"]["latent"]
    plan = resolved(config)
    assert not any("latent" in str(content) for content in plan.configs.values())
    assert "notes" not in plan.experiment
    assert plan.configs["digits/images.json"] == with_latents.configs["digits/images.json"]


@pytest.mark.parametrize(
    ("problem", "latent", "message"),
    [
        (
            "digits",
            LATENT | {"facto": 2},
            "problems.digits.latent: unknown key ('facto' was unexpected); known keys: aut",
        ),
        ("digits", {"factor": 2}, "'autoencoder' is a required property"),
        ("digits", LATENT | {"scale": 0}, "problems.digits.latent.scale: 0 is not allowed; it must be greater than 0"),
        ("digits", LATENT | {"posterior": "mode"}, "latent.posterior: 'mode' is not allowed; one of 'sample', 'mean'"),
        ("digits", LATENT | {"factor": 3}, "problems.digits.latent.factor: 8 x 8 images cannot be divided by 3"),
        ("ring", LATENT, "problems.ring.latent: 'ring' are no images; leave it out"),
    ],
)
def test_mistakes_are_told_before_any_job(config, problem, latent, message):
    config["problems"][problem]["latent"] = latent
    with pytest.raises(ExperimentError) as error:
        resolved(config)
    assert message in str(error.value)


def test_an_autoencoder_that_is_at_hand_is_looked_at(config, tmp_path):
    tiny.save(tmp_path / "somewhere", colours=3)
    config["assets"] = str(tmp_path)
    with pytest.raises(
        ExperimentError, match=r"digits\.latent\.autoencoder: it takes images of 3 channels, and these h"
    ):
        resolved(config)
    (tmp_path / "somewhere" / "diffusion_pytorch_model.safetensors").unlink()
    assert resolved(config).runs


def test_the_missing_package_is_named_with_the_extra(config, monkeypatch):
    monkeypatch.setattr("ttfm.latent.finding.find_spec", lambda name: None)
    with pytest.raises(
        ExperimentError, match=r"digits\.latent: latents need diffusers, .* pip install -e '\.\[latent\]'"
    ):
        resolved(config)


def test_no_student_can_take_the_autoencoders_name(config):
    config["students"]["autoencoder"] = {"loss": "cd"}
    with pytest.raises(ExperimentError, match=r"students\.autoencoder: this name is taken"):
        resolved(config)
