"""The steps of a problem of images, one after the other, as a user would type them."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from torch_fidelity import calculate_metrics

from tests.evaluation.extractors.fidelity import Bytes, registered
from tests.registry import with_registry
from ttfm.cli import main
from ttfm.data import digits
from ttfm.evaluation.quantisation import quantise
from ttfm.evaluation.sample_sets import read_sets
from ttfm.evaluation.scores import KID_SUBSETS
from ttfm.files import read_arrays, sha256
from ttfm.planning import plan
from ttfm.steps import common

ASKED = ["fd-digits", "kid-digits", "lpips-alex", "l2", "psnr"]


def experiment() -> dict:
    config = yaml.safe_load(Path("workflow/experiments/tiny.yaml").read_text())
    digits = config["problems"]["digits"]
    digits["evaluation"] |= {"metrics": ASKED, "samples": 300, "shown": 8}
    digits["training"]["snapshots"] = [2]
    config["students"] = {"cd": {"loss": "cd"}}
    return config | {"problems": {"digits": digits}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The chain up to the scores, with no network at all: LPIPS is left out."""
    folder = tmp_path_factory.mktemp("images")
    plan(experiment(), "images.yaml", with_registry(folder))
    root = folder / "tiny"
    environment = pytest.MonkeyPatch()
    environment.setenv("TORCH_HOME", str(folder))
    environment.delenv("TTFM_ASSETS", raising=False)
    environment.setattr("torch.hub.urlopen", _refuse)
    for line in steps(root):
        main(line.split())
    yield root
    environment.undo()


def _refuse(request):
    from urllib.error import URLError

    raise URLError("no network in tests")


def steps(root: Path) -> list[str]:
    at, made = root / "plan" / "digits", root / "digits"
    run, images = made / "cd" / "0", f"--images {made}/images"
    classifier = f"{made}/classifier/weights.safetensors"
    teacher = f"--teacher {made}/teacher/w.safetensors"
    solution = f"--solution {made}/solution.npz"
    network = f"--extractor digits-classifier --weights {classifier} --weights-record {made}/classifier/record.json"
    trunk = root / "weights" / "lpips-alex"
    lines = [
        f"images --config {at}/images.json --out {made}/images --record {made}/images/record.json",
        f"classifier --config {at}/classifier.json {images} --weights {classifier} "
        f"--record {made}/classifier/record.json",
        f"weights --config {root}/plan/weights/lpips-alex.json --weights {trunk}.safetensors --record {trunk}.json",
        f"teacher --config {at}/teacher.json {images} --weights {made}/teacher/w.safetensors "
        f"--curve {made}/teacher/curve.csv --record {made}/teacher/record.json",
        f"solution --config {at}/solution.json {images} {teacher} --teacher-record {made}/teacher/record.json "
        f"--out {made}/solution.npz --record {made}/solution.json",
        f"reference --config {at}/reference.json {images} {network} "
        f"--out {made}/reference/digits-classifier.npz --cache {root}/cache "
        f"--record {made}/reference/digits-classifier.json",
        f"student --config {at}/cd/0/student.json {images} {teacher} --teacher-record {made}/teacher/record.json "
        f"{solution} --solution-record {made}/solution.json --weights {run}/w.safetensors --curve {run}/curve.csv "
        f"--snapshots {run}/kept.safetensors --record {run}/record.json",
        sample(root),
        f"sample-baselines --config {at}/baselines.json {images} {teacher} {solution} "
        f"--solution-record {made}/solution.json {sets(made / 'baselines')}",
    ]
    for folder, more in ((run, f"--snapshot-metrics {run}/snapshots.csv"), (made / "baselines", "--floor")):
        lines += [
            f"features --config {at}/features.json {network} --images {folder}/images.npy --index {folder}/images.json "
            f"--out {folder}/features/digits-classifier.npy --about {folder}/features/digits-classifier.json "
            f"--record {folder}/features/digits-classifier-record.json",
            f"score --config {at}/score.json --pixels {folder}/images.npy --index {folder}/images.json {solution} "
            f"--described {folder}/described.csv --features {folder}/features --reference {made}/reference "
            f"--weights {root}/weights "
            f"--metrics {folder}/metrics.csv {more} --record {folder}/scored.json",
        ]
    return lines


def sets(folder: Path) -> str:
    return (
        f"--pixels {folder}/images.npy --index {folder}/images.json --samples {folder}/samples.npz "
        f"--described {folder}/described.csv --record {folder}/sampled.json"
    )


def sample(root: Path) -> str:
    made = root / "digits"
    run = made / "cd" / "0"
    return (
        f"sample --config {root}/plan/digits/cd/evaluate.json --images {made}/images --student {run}/w.safetensors "
        f"--student-record {run}/record.json --snapshots {run}/kept.safetensors --teacher {made}/teacher/w.safetensors "
        f"--solution {made}/solution.npz {sets(run)}"
    )


def table(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_student_has_a_row_per_metric_and_budget_with_its_protocol(root):
    rows = table(root / "digits" / "cd" / "0" / "metrics.csv")
    found = {(row["metric"], row["steps"]): row for row in rows}
    for steps in ("1", "2"):
        for metric in ("fd-digits", "kid-digits"):
            assert float(found[metric, steps]["value"])
            assert (found[metric, steps]["N"], found[metric, steps]["split"]) == ("300", "test")
            assert found[metric, steps]["extractor"].startswith("digits-classifier ")
            kept = "" if metric == "fd-digits" else r", 89[89] real"
            assert re.search(rf" uint8{kept}$", found[metric, steps]["extractor"])
    assert float(found["psnr", "1"]["value"]) > 0 and float(found["l2", "1"]["value"]) > 0
    assert found["psnr", "2"]["status"] == "skipped" and "re-noises" in found["psnr", "2"]["reason"]
    assert found["lpips-alex", "1"]["status"] == "skipped"
    assert "the weights of AlexNet (a trunk of LPIPS) were neither" in found["lpips-alex", "1"]["reason"]
    assert found["transport_cost", ""]["N"] == "300" and found["transport_cost", ""]["student"] == "cd"
    assert {row["seed"] for row in rows} == {"0"} and {row["loss"] for row in rows} == {"cd"}


def test_torch_fidelity_finds_the_distances_of_the_table_from_the_files_of_images(root):
    made = root / "digits"
    sets = read_sets(made / "cd/0/images.npy", made / "cd/0/images.json")
    values = {(row["metric"], row["steps"]): row["value"] for row in table(made / "cd/0/metrics.csv")}
    real = quantise(digits.load("test")[0]).numpy()
    places = {str(each.about["steps"]): n for n, each in enumerate(sets.sets) if not each.snapshot}
    for steps, place in places.items():
        with registered() as network:
            found = calculate_metrics(
                input1=Bytes(np.array(sets.images[place])),
                input2=Bytes(real),
                feature_extractor=network,
                feature_extractor_weights_path=str(made / "classifier" / "weights.safetensors"),
                fid=True,
                kid=True,
                kid_subsets=KID_SUBSETS,
                kid_subset_size=min(len(real), len(sets.images[place])),
                rng_seed=0,
                cuda=False,
                cache=False,
                save_cpu_ram=True,
                verbose=False,
            )
        assert found["frechet_inception_distance"] == pytest.approx(float(values["fd-digits", steps]), rel=1e-6)
        assert found["kernel_inception_distance_mean"] == pytest.approx(float(values["kid-digits", steps]), rel=1e-6)


def test_snapshots_have_the_headline_and_when_they_were_made(root):
    rows = table(root / "digits" / "cd" / "0" / "snapshots.csv")
    assert [(row["iteration"], row["steps"]) for row in rows] == [("4", "1"), ("4", "2"), ("2", "1"), ("2", "2")]
    assert {row["metric"] for row in rows} == {"fd-digits"}
    final = {row["steps"]: row["value"] for row in table(root / "digits" / "cd" / "0" / "metrics.csv")
             if row["metric"] == "fd-digits"}  # fmt: skip
    assert {row["steps"]: row["value"] for row in rows[:2]} == final


def test_the_teacher_and_the_floor_stand_beside(root):
    rows = table(root / "digits" / "baselines" / "metrics.csv")
    found = {(row["student"], row["metric"], row["steps"]): row for row in rows}
    assert found["data", "fd-digits", ""]["N"] == "300" and float(found["data", "fd-digits", ""]["value"]) > 0
    assert found["data", "l2", ""]["status"] == "skipped"
    assert float(found["teacher", "l2", ""]["value"]) == 0
    assert "themselves" in found["teacher", "psnr", ""]["reason"]
    # A teacher of four iterations hardly moves: its Euler steps may be its solution to the byte.
    assert 0 < float(found["teacher_euler", "psnr", "2"]["value"]) < 59
    assert found["teacher", "straightness", ""]["value"]


def test_samples_do_not_depend_on_the_pieces_they_are_made_in(root, monkeypatch):
    pixels = root / "digits" / "cd" / "0" / "images.npy"
    before = np.load(pixels)
    shown = read_arrays(pixels.with_name("samples.npz"))["k2"]
    monkeypatch.setattr("ttfm.steps.sample.piece_size", lambda shape: 256)
    main(sample(root).split())
    # Sums over batches of another size may round otherwise, which moves a byte by one here and there.
    after = np.load(pixels)
    assert np.abs(after.astype(int) - before).max() <= 1 and (after != before).mean() < 1e-3
    np.testing.assert_allclose(read_arrays(pixels.with_name("samples.npz"))["k2"], shown, atol=1e-5)
    assert shown.shape == (8, 1, 8, 8)


def test_the_solution_keeps_bytes_of_all_and_the_reference_is_cached_by_content(root):
    solution = read_arrays(root / "digits" / "solution.npz")
    assert solution["pixels"].shape == (300, 1, 8, 8) and solution["pixels"].dtype == np.uint8
    assert solution["x0"].shape == solution["x1"].shape == (300, 1, 8, 8)
    (cached,) = (root / "cache").glob("*.npz")
    line = next(line for line in steps(root) if line.startswith("reference"))
    altered = read_arrays(cached)
    altered["reference_mu"] = altered["reference_mu"] + 1
    from ttfm.files import write_arrays

    write_arrays(cached, altered)
    main(line.replace("reference/digits-classifier.npz", "again.npz").split())
    again = read_arrays(root / "digits" / "again.npz")
    np.testing.assert_array_equal(again["reference_mu"], altered["reference_mu"])
    cached.write_bytes(cached.read_bytes()[:-1])
    main(line.replace("reference/digits-classifier.npz", "again.npz").split())
    again = read_arrays(root / "digits" / "again.npz")
    np.testing.assert_allclose(again["reference_mu"], altered["reference_mu"] - 1, rtol=1e-6)
    assert int(again["reference_count"]) == 898 and int(again["floor_count"]) == 300
    assert json.loads((root / "digits" / "reference" / "digits-classifier.json").read_text())["splits"] == {
        "reference": "test",
        "floor": "train",
    }


def test_a_failed_training_is_failed_rows_with_its_reason(root):
    run = root / "digits" / "cd" / "0"
    record = json.loads((run / "record.json").read_text())
    (run / "record.json").write_text(json.dumps(record | {"status": "failed", "reason": "it broke"}))
    lines = steps(root)
    for line in (lines[7], lines[9], lines[10]):
        main(line.split())
    (run / "record.json").write_text(json.dumps(record))
    rows = table(run / "metrics.csv")
    assert {(row["metric"], row["steps"]) for row in rows} >= {("fd-digits", "2"), ("straightness", "")}
    told = {(row["status"], row["reason"]) for row in rows if row["metric"] != "lpips-alex"}
    assert told == {("failed", "it broke")}


@pytest.mark.parametrize("step", ["features", "score"])
def test_a_flipped_byte_of_weights_is_found_before_they_are_used(step, root, capsys):
    """Of a network of features, and of a trunk of LPIPS: here bytes that no network could be made of either."""
    if step == "features":
        weights, record = (root / "digits" / "classifier" / name for name in ("weights.safetensors", "record.json"))
    else:
        weights, record = (root / "weights" / f"lpips-alex.{ending}" for ending in ("safetensors", "json"))
    before = weights.read_bytes(), record.read_bytes()
    if step == "score":
        weights.write_bytes(b"a trunk")
        about = json.loads(before[1]) | {"status": "ok", "content_sha256": sha256(weights)}
        record.write_text(json.dumps(about))
    expected = sha256(weights)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    found = sha256(weights)
    with pytest.raises(SystemExit) as stop:
        main(next(line for line in steps(root) if line.startswith(f"{step} ")).split())
    aside = weights.with_name(f"damaged-{weights.name}")
    assert aside.read_bytes() == content and not weights.exists()
    aside.unlink()
    weights.write_bytes(before[0])
    record.write_bytes(before[1])
    assert stop.value.code == 1
    told = capsys.readouterr().err
    assert f"{weights}: damaged weights: expected sha256 {expected}, found {found}; set aside as {aside.name}" in told


def test_the_larger_images_are_the_fewer_pass_at_once():
    shapes = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 256, 256))
    assert [common.piece_size(shape) for shape in shapes] == [4096, 256, 256, 64, 4]
