"""A real DAG in latent space: encoded once, trained between latents, measured on decoded images."""

import json

import numpy as np
import pytest

from tests.latent import tiny
from tests.workflow.project import checkout, in_one_process, planned, rows, snakemake, write
from ttfm.files import read_arrays

pytestmark = pytest.mark.workflow

EXPERIMENT = {
    "name": "latent",
    "title": "Digits in latent space",
    "device": "cpu",
    "seeds": [0],
    "budgets": [1, 2],
    "students": {"itvm": {"loss": "itvm"}},
    "problems": {
        "digits": {
            "title": "Digits",
            "data": {"name": "digits"},
            "latent": {"autoencoder": "tiny-kl", "channels": 2, "factor": 2},
            "network": {"name": "unet", "channels": 8, "multipliers": [1]},
            "training": {"iterations": 4, "batch": 8, "log_every": 2, "probe_every": 2, "snapshots": [2]},
            "evaluation": {
                "samples": 256,
                "solver": "heun",
                "steps": 4,
                "shown": 16,
                "metrics": ["fd-digits", "kid-digits", "l2", "psnr"],
            },
        }
    },
}


LATENTS = "results/latent/digits/latents/about.json"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = checkout(tmp_path_factory.mktemp("latent") / "project")
    tiny.save(folder / "tiny-kl")
    arguments = write(folder, EXPERIMENT)
    snakemake(folder, LATENTS, *arguments)
    in_one_process(folder, *arguments)
    return folder


def test_flows_lead_to_latents_and_images_are_decoded(run):
    made = run / "results" / "latent" / "digits"
    assert np.load(made / "latents" / "train-latents.npy").shape == (1, 899, 2, 2, 4, 4)
    solution = read_arrays(made / "solution.npz")
    assert solution["x0"].shape == solution["x1"].shape == (256, 2, 4, 4)
    assert solution["pixels"].shape == (256, 1, 8, 8)
    for path in (made / "itvm" / "0", made / "teacher_euler" / "0"):
        assert read_arrays(path / "samples.npz")["k2"].shape == (16, 1, 8, 8)
    generated = np.load(made / "itvm" / "0" / "images.npy")
    assert generated.shape == (4, 256, 1, 8, 8) and generated.std() > 0
    record = json.loads((made / "latents" / "record.json").read_text())
    assert record["autoencoder"]["scale"] == 0.5 and record["autoencoder"]["shift"] == 0.25
    assert len(record["autoencoder"]["sha256"]) == 64 and 0 < record["test_psnr"] < 59
    assert record["config"]["latent"]["posterior"] == "sample" and "diffusers" in record["versions"]


def test_the_long_table_measures_images_and_has_the_autoencoders_own_row(run):
    table = rows(run / "results" / "latent" / "metrics.csv")
    assert {row["student"] for row in table} == {"data", "autoencoder", "teacher", "teacher_euler", "itvm"}
    found = {(row["student"], row["metric"], row["steps"]): row for row in table}
    for metric in ("fd-digits", "kid-digits"):
        assert float(found["autoencoder", metric, ""]["value"]) > float(found["data", metric, ""]["value"])
        assert found["autoencoder", metric, ""]["N"] == "256"
    assert found["autoencoder", "l2", ""]["status"] == "skipped"
    assert float(found["teacher", "l2", ""]["value"]) == 0
    assert all(row["status"] == "ok" for row in table if row["student"] == "itvm")
    assert {row["extractor"] for row in table if row["metric"] == "psnr"} == {"uint8"}


def test_the_page_says_what_is_measured_where(run):
    page = (run / "report" / "latent" / "index.html").read_text(encoding="utf-8")
    assert "teacher and students move between latents of tiny-kl, 2 x 4 x 4" in page
    assert "Autoencoder (test images, decoded again)" in page


def test_another_autoencoder_in_the_same_place_encodes_anew(run):
    arguments = (LATENTS, "--configfile", str(run / "experiment.yaml"))
    assert planned(run, *arguments) == set()
    (weights,) = (run / "tiny-kl").glob("*.safetensors")
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert planned(run, *arguments) == {"latents"}
