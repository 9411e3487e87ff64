"""Several seeds given to one call of the student step: trained at once, with a seed's own files and numbers."""

import copy
import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tests.registry import with_registry
from tests.workflow.project import POINTS
from ttfm.cli import main
from ttfm.exits import TRY_AGAIN
from ttfm.files import read_json, write_json
from ttfm.planning import plan
from ttfm.training.meter import Meter
from ttfm.training.states import _seal
from ttfm.training.together import Together

SEEDS = (0, 1)
FILES = dict.fromkeys(("weights", "snapshots", "averages"), "safetensors") | {"curve": "csv", "record": "json"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A planned experiment with a teacher, and students of whom each was trained by itself."""
    folder = tmp_path_factory.mktemp("together")
    config = copy.deepcopy(POINTS) | {"seeds": list(SEEDS)}
    config["students"] = {"cd": {"loss": "cd"}, "cd-after": {"loss": "cd", "start": "cd"}, "dtm": {"loss": "dtm"}}
    config["problems"]["ring"]["training"] |= {"snapshots": [10], "ema": [0.9, 0.99]}
    plan(config, "points.yaml", with_registry(folder))
    root = folder / "points"
    at, made = root / "plan" / "ring", root / "ring"
    main(
        f"teacher --config {at}/teacher.json --weights {made}/teacher/weights.safetensors "
        f"--curve {made}/teacher/curve.csv --record {made}/teacher/record.json".split()
    )
    main(
        f"solution --config {at}/solution.json --teacher {made}/teacher/weights.safetensors "
        f"--teacher-record {made}/teacher/record.json --out {made}/solution.npz --record {made}/solution.json".split()
    )
    for seed in SEEDS:
        train(root, "cd", "alone", (seed,))
        train(root, "dtm", "alone", (seed,))
    return root


def train(root, student, folder, seeds=SEEDS, *more):
    at, made = root / "plan" / "ring" / student, root / "ring"
    arguments = ["student", "--config", *(f"{at}/{seed}/student.json" for seed in seeds)]
    arguments += ["--teacher", f"{made}/teacher/weights.safetensors", "--solution", f"{made}/solution.npz"]
    arguments += ["--teacher-record", f"{made}/teacher/record.json", "--solution-record", f"{made}/solution.json"]
    for name, ending in FILES.items():
        arguments += [f"--{name}", *(f"{made}/{student}-{folder}/{seed}/{name}.{ending}" for seed in seeds)]
    main([*arguments, *more])
    return [made / f"{student}-{folder}" / str(seed) for seed in seeds]


def require_close(folder, other):
    for name in ("weights", "snapshots", "averages"):
        found, expected = (load_file(at / f"{name}.safetensors") for at in (folder, other))
        assert found.keys() == expected.keys() and found
        for key, value in found.items():
            torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-5)
    curves = [pd.read_csv(at / "curve.csv").drop(columns="seconds") for at in (folder, other)]
    pd.testing.assert_frame_equal(*curves, rtol=1e-3, atol=1e-5)
    found, expected = (read_json(at / "record.json") for at in (folder, other))
    for key in ("status", "iterations", "calls", "loss", "parameters", "before"):
        assert found[key] == expected[key]


def test_seeds_of_one_call_have_the_files_of_calls_of_their_own(root, capsys):
    folders = train(root, "cd", "both")
    begun = [line for line in capsys.readouterr().err.splitlines() if "iterations of batch" in line]
    assert len(begun) == len(SEEDS) and "ring/cd/1: ConsistencyDistillation(" in begun[1]
    for folder, seed in zip(folders, SEEDS, strict=True):
        require_close(folder, root / "ring" / "cd-alone" / str(seed))
        assert read_json(folder / "record.json")["together"] == len(SEEDS)
        assert read_json(folder / "record.json")["config"]["seed"] == seed
        assert read_json(root / "ring" / "cd-alone" / str(seed) / "record.json")["together"] == 1


def test_seeds_of_a_loss_that_trains_alone_train_one_after_another(root):
    for folder, seed in zip(train(root, "dtm", "both"), SEEDS, strict=True):
        assert read_json(folder / "record.json")["together"] == 1
        found, expected = (load_file(at / "weights.safetensors") for at in (folder, root / f"ring/dtm-alone/{seed}"))
        assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_each_goes_on_from_the_student_of_its_seed(root):
    start = [part for at in ("weights.safetensors", "record.json") for part in [root / "ring" / "cd-alone" / "{}" / at]]
    weights, records = ([str(path).format(seed) for seed in SEEDS] for path in start)
    folders = train(root, "cd-after", "both", SEEDS, "--start", *weights, "--start-record", *records)
    for folder, seed, weight, record in zip(folders, SEEDS, weights, records, strict=True):
        (alone,) = train(root, "cd-after", "alone", (seed,), "--start", weight, "--start-record", record)
        require_close(folder, alone)
        assert read_json(folder / "record.json")["before"]["iterations"] == 20


def test_seeds_that_were_stopped_go_on_together(root):
    made = root / "ring" / "cd-stopped"
    states = ["--state", *(str(made / str(seed) / "state") for seed in SEEDS), "--train-at-most", "0.001"]
    calls = 0
    while True:
        calls += 1
        try:
            folders = train(root, "cd", "stopped", SEEDS, *states)
            break
        except SystemExit as end:
            assert end.code == TRY_AGAIN
            assert not (made / "0" / "record.json").exists()
            assert all(any((made / str(seed) / "state").glob("*/step-*.json")) for seed in SEEDS)
    assert calls > 2
    for folder, other in zip(folders, train(root, "cd", "again"), strict=True):
        record = read_json(folder / "record.json")
        assert len(record["resumed"]) == calls - 1
        curve = pd.read_csv(folder / "curve.csv").dropna(subset="map_error")
        lowest = curve.loc[curve["map_error"].idxmin()]
        assert record["best"] == {"step": lowest["step"], "map_error": pytest.approx(lowest["map_error"])}
        assert record["best"] == read_json(other / "record.json")["best"]
        for name in ("weights", "snapshots", "averages"):
            found, expected = (load_file(at / f"{name}.safetensors") for at in (folder, other))
            assert all(torch.equal(value, expected[key]) for key, value in found.items())
        (last,) = (folder / "state").glob("*/step-*.json")
        assert int(last.stem.split("-")[1]) == read_json(folder / "record.json")["iterations"]


def test_seeds_that_trained_together_do_not_go_on_alone(root, monkeypatch):
    made = root / "ring" / "cd-parted"
    states = ["--state", *(str(made / str(seed) / "state") for seed in SEEDS)]
    with pytest.raises(SystemExit) as end:
        train(root, "cd", "parted", SEEDS, *states, "--train-at-most", "0.001")
    assert end.value.code == TRY_AGAIN
    monkeypatch.setattr("ttfm.training.together.together", lambda trainers, tried: None)
    with pytest.raises(RuntimeError, match="cannot go on so; the log says why"):
        train(root, "cd", "parted", SEEDS, *states)
    monkeypatch.undo()
    train(root, "cd", "parted", SEEDS, *states)


def test_a_seed_that_failed_stays_so_when_the_others_go_on(root):
    made = root / "ring" / "cd-failed"
    states = ["--state", *(str(made / str(seed) / "state") for seed in SEEDS)]
    with pytest.raises(SystemExit):
        train(root, "cd", "failed", SEEDS, *states, "--train-at-most", "0.001")
    (newest,) = list((made / "1" / "state").glob("*/step-*.json"))[-1:]
    about = read_json(newest)
    del about["seal"]
    about["numbers"] |= {"status": "failed", "reason": "it broke"}
    write_json(newest, about | {"seal": _seal(json.dumps(about, sort_keys=True))})
    first, second = (read_json(folder / "record.json") for folder in train(root, "cd", "failed", SEEDS, *states))
    assert (first["status"], first["together"]) == ("ok", 1)
    assert (second["status"], second["reason"], second["iterations"]) == ("failed", "it broke", about["step"])


def test_a_seed_that_broke_down_unseen_is_noticed_when_a_state_is_due(root, monkeypatch):
    made, add = root / "ring" / "cd-unseen", Meter.add

    def broken(self, step, names, values):
        add(self, step, names, values * float("nan") if (self.seed, step) == (1, 7) else values)

    monkeypatch.setattr(Meter, "add", broken)
    # As on a GPU.
    monkeypatch.setattr(Together, "waits", property(lambda self: False, lambda self, value: None), raising=False)
    monkeypatch.setattr("ttfm.steps.keeping.COST", 1e9)
    states = ["--state", *(str(made / str(seed) / "state") for seed in SEEDS), "--save-every", "1e-9"]
    folders = train(root, "cd", "unseen", SEEDS, *states)
    first, second = (read_json(folder / "record.json") for folder in folders)
    assert (second["status"], second["iterations"]) == ("failed", 6) and "step 7 (seed 1)" in second["reason"]
    assert first["status"] == "ok"
    require_close(folders[0], root / "ring" / "cd-alone" / "0")
