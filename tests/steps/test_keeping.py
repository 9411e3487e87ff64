"""A training that is told to stop keeps its state, and the same command ends with the numbers of an unbroken run."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from ttfm.exits import TRY_AGAIN, InterruptedTrainingError
from ttfm.files import read_json, sha256, write_json
from ttfm.steps.keeping import SAVE_EVERY, TRAIN_AT_MOST, Keeper, identity
from ttfm.training.states import State

CONFIG = {
    "experiment": "kept",
    "problem": "ring",
    "seed": 0,
    "device": "cpu",
    "kind": "points",
    "shape": [2],
    "closed_form": False,
    "source": {"name": "gaussian"},
    "data": {"name": "ring"},
    "network": {"name": "mlp", "width": 8, "depth": 2},
    "loss": {"name": "fm", "options": {}},
    "loss_modules": [],
    "training": {"iterations": 1000, "batch": 16, "log_every": 30, "probe_every": 0, "snapshots": [5, 350]},
}


def command(folder, *more, **training):
    write_json(folder / "config.json", CONFIG | {"training": CONFIG["training"] | training})
    names = {"weights": "safetensors", "curve": "csv", "record": "json", "snapshots": "safetensors"}
    outputs = [part for name, ending in names.items() for part in (f"--{name}", f"{folder}/{name}.{ending}")]
    return [sys.executable, "-m", "ttfm", "teacher", "--config", f"{folder}/config.json", *outputs, *more]


def start(folder, *more, ranks=1, **training):
    environment = os.environ | {"TTFM_RANKS": str(ranks)}
    with (folder / "log").open("a") as stream:
        return subprocess.Popen(command(folder, *more, **training), stderr=stream, env=environment)


def states(folder):
    return sorted((folder / "state").glob("*/step-*.json"))


def wait_for_state(folder, process, newer_than=-1):
    end = time.monotonic() + 200
    while time.monotonic() < end and process.poll() is None:
        if found := [path for path in states(folder) if int(path.stem.split("-")[1]) > newer_than]:
            return int(found[-1].stem.split("-")[1])
        time.sleep(0.002)
    raise AssertionError((folder / "log").read_text())


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    assert start(folder).wait(timeout=300) == 0
    return folder


def require_same(folder, unbroken):
    assert sha256(folder / "weights.safetensors") == sha256(unbroken / "weights.safetensors")
    kept = [load_file(at / "snapshots.safetensors") for at in (folder, unbroken)]
    assert kept[0].keys() == kept[1].keys()
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])
    curves = [pd.read_csv(at / "curve.csv").drop(columns="seconds") for at in (folder, unbroken)]
    pd.testing.assert_frame_equal(*curves, check_exact=True)
    records = [read_json(at / "record.json") for at in (folder, unbroken)]
    for key in ("status", "iterations", "calls"):
        assert records[0][key] == records[1][key]


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL])
def test_a_signal_costs_no_work_and_changes_no_number(told, unbroken, tmp_path):
    arguments = ("--state", f"{tmp_path}/state", "--save-every", "0.001")
    process = start(tmp_path, *arguments)
    step = wait_for_state(tmp_path, process)
    process.send_signal(told)
    status = process.wait(timeout=200)
    assert status == (-signal.SIGKILL if told == signal.SIGKILL else TRY_AGAIN)
    assert not (tmp_path / "record.json").exists()
    if told != signal.SIGKILL:
        assert f"stopped by {told.name}" in (tmp_path / "log").read_text()
    assert start(tmp_path, *arguments).wait(timeout=300) == 0
    require_same(tmp_path, unbroken)
    (resumed,) = read_json(tmp_path / "record.json")["resumed"]
    assert step <= resumed < CONFIG["training"]["iterations"]
    assert [path.stem for path in states(tmp_path)] == ["step-000001000"]


def test_a_training_whose_end_nobody_saw_is_not_done_again(unbroken, tmp_path):
    """Who started it is dead, and the next one removes files that nobody has called complete."""
    arguments = ("--state", f"{tmp_path}/state")
    assert start(tmp_path, *arguments).wait(timeout=300) == 0
    for path in tmp_path.glob("*.*"):
        path.unlink()
    assert start(tmp_path, *arguments).wait(timeout=300) == 0
    require_same(tmp_path, unbroken)
    assert read_json(tmp_path / "record.json")["resumed"] == [CONFIG["training"]["iterations"]]


def test_a_training_that_a_killed_workflow_left_behind_gives_way_to_its_successor(unbroken, tmp_path):
    arguments = ("--state", f"{tmp_path}/state", "--save-every", "0.001")
    orphan = start(tmp_path, *arguments)
    wait_for_state(tmp_path, orphan)
    # It would come to its end before the other has started.
    orphan.send_signal(signal.SIGSTOP)
    successor, end = start(tmp_path, *arguments), time.monotonic() + 200
    while "it is told to keep its state and stop" not in (tmp_path / "log").read_text():
        assert successor.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
        time.sleep(0.01)
    orphan.send_signal(signal.SIGCONT)
    assert successor.wait(timeout=300) == 0, (tmp_path / "log").read_text()
    assert orphan.wait(timeout=300) == TRY_AGAIN
    require_same(tmp_path, unbroken)
    assert len(read_json(tmp_path / "record.json")["resumed"]) == 1
    assert not (tmp_path / "state.lock").exists()


def test_a_training_limited_in_time_chains_to_its_end(unbroken, tmp_path):
    arguments = ("--state", f"{tmp_path}/state", "--train-at-most")
    for _ in range(2):
        # Less than a step.
        assert start(tmp_path, *arguments, "0.000001").wait(timeout=300) == TRY_AGAIN, (tmp_path / "log").read_text()
    assert start(tmp_path, *arguments, "3600").wait(timeout=300) == 0
    require_same(tmp_path, unbroken)
    assert read_json(tmp_path / "record.json")["resumed"] == [1, 2]


def test_two_ranks_keep_one_state_and_end_with_the_numbers_of_one_process(tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    run = start(alone, parts=2)
    arguments = ("--state", f"{together}/state", "--save-every", "0.001")
    process = start(together, *arguments, ranks=2, parts=2)
    wait_for_state(together, process)
    process.terminate()
    assert process.wait(timeout=200) != 0
    assert states(together)
    assert start(together, *arguments, ranks=2, parts=2).wait(timeout=300) == 0, (together / "log").read_text()
    assert run.wait(timeout=300) == 0
    require_same(together, alone)
    assert len(read_json(together / "record.json")["resumed"]) == 1
    assert [path.stem for path in states(together)] == ["step-000001000"]


@pytest.mark.parametrize("text", ["0", "two", "-1"])
def test_a_number_of_ranks_that_is_none_is_one_message(text, tmp_path):
    environment = os.environ | {"TTFM_RANKS": text}
    done = subprocess.run(command(tmp_path), stderr=subprocess.PIPE, text=True, env=environment, timeout=300)
    assert done.returncode == 1
    assert "TTFM_RANKS" in done.stderr and "Traceback" not in done.stderr


def test_a_state_of_another_configuration_is_refused_in_words(unbroken, tmp_path):
    arguments = ("--state", f"{tmp_path}/state", "--save-every", "0.001")
    process = start(tmp_path, *arguments)
    wait_for_state(tmp_path, process)
    process.kill()
    process.wait()
    changed = command(tmp_path, *arguments)
    write_json(tmp_path / "config.json", CONFIG | {"seed": 1})
    result = subprocess.run(changed, stderr=subprocess.PIPE, text=True, timeout=300)
    assert result.returncode == 0
    assert "another configuration" in result.stderr
    record = read_json(tmp_path / "record.json")
    assert record["resumed"] == []
    assert record["sha256"] != sha256(unbroken / "weights.safetensors")


def test_what_decides_a_training_is_in_its_identity(tmp_path):
    teacher = tmp_path / "teacher"
    teacher.write_bytes(b"one")
    config = {"seed": 0, "loss_modules": []}
    arguments = argparse.Namespace(teacher=teacher, weights=tmp_path / "out")
    found = identity(arguments, config, "cpu")
    assert identity(arguments, dict(reversed(config.items())), "cpu") == found
    assert identity(arguments, config | {"seed": 1}, "cpu") != found
    assert identity(arguments, config, "cuda:1") != found
    assert identity(arguments, config, "cuda:1") == identity(arguments, config, "cuda:0")
    teacher.write_bytes(b"two")
    assert identity(arguments, config, "cpu") != found
    loss = tmp_path / "loss.py"
    loss.write_text("one")
    mine = identity(arguments, config | {"loss_modules": [str(loss)]}, "cpu")
    loss.write_text("two")
    assert identity(arguments, config | {"loss_modules": [str(loss)]}, "cpu") != mine


@pytest.mark.parametrize("variable", [SAVE_EVERY, TRAIN_AT_MOST])
@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan"])
def test_a_time_that_is_none_is_refused_by_the_name_of_its_variable(variable, text, monkeypatch):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValueError, match=variable):
        Keeper([(argparse.Namespace(), CONFIG)], "cpu")


def test_a_limit_without_a_place_for_the_state_is_refused():
    with pytest.raises(ValueError, match="--train-at-most needs --state"):
        Keeper([(argparse.Namespace(train_at_most=5.0), CONFIG)], "cpu")


def test_saving_waits_so_long_that_it_costs_two_percent(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("ttfm.steps.keeping.time", argparse.Namespace(monotonic=lambda: clock[0]))
    keeper = Keeper([(argparse.Namespace(state=tmp_path / "state", save_every=10.0), CONFIG)], "cpu")
    saves = []

    class Slow:
        folder = Path("state")

        def save(self, state, prune):
            saves.append(clock[0])
            clock[0] += 1.0
            return True

        def prune(self):
            """Nothing is kept."""

    keeper.states = [Slow()]
    while clock[0] < 200:
        clock[0] += 0.5
        keeper.after_step(lambda: [State(int(2 * clock[0]), {}, {})])
    assert saves == [10.0, 61.0, 112.0, 163.0]


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_ends_the_training_after_its_step(told, tmp_path):
    with Keeper([(argparse.Namespace(state=tmp_path / "state"), CONFIG)], "cpu") as keeper:
        keeper.after_step(lambda: 1 / 0)
        signal.raise_signal(told)
        with pytest.raises(InterruptedTrainingError, match=f"stopped by {told.name} after step 7"):
            keeper.after_step(lambda: [State(7, {}, {})])
    assert keeper.newest()[0].step == 7


@pytest.mark.parametrize(("seconds", "steps"), [(0.001, 10), (2.0, 1)])
def test_ranks_agree_on_whether_to_stop_after_at_most_a_second_and_a_step(seconds, steps, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("ttfm.steps.keeping.time", argparse.Namespace(monotonic=lambda: clock[0]))
    ranks = argparse.Namespace(count=2, rank=0, any=lambda values, device: list(values), wait=lambda: None)
    with Keeper([(argparse.Namespace(state=tmp_path / "state"), CONFIG)], "cpu", ranks) as keeper:

        def step(number):
            clock[0] += seconds
            keeper.after_step(lambda: [State(number, {}, {})])

        for number in range(11):
            step(number)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(InterruptedTrainingError) as stopped:
            for number in range(11, 40):
                step(number)
    assert f"after step {10 + steps};" in str(stopped.value)


@pytest.mark.parametrize(("saved", "words"), [(True, "the state is kept"), (False, "could not be saved")])
def test_a_signal_during_a_save_ends_the_training_too(saved, words, tmp_path, monkeypatch):
    with Keeper([(argparse.Namespace(state=tmp_path / "state", save_every=1e-9), CONFIG)], "cpu") as keeper:
        if not saved:
            monkeypatch.setattr(keeper.states[0], "save", lambda state, prune: False)

        def state():
            signal.raise_signal(signal.SIGTERM)
            return [State(7, {}, {})]

        with pytest.raises(InterruptedTrainingError, match=f"stopped by SIGTERM after step 7; .*{words}"):
            keeper.after_step(state)


def test_without_a_place_for_states_signals_do_what_they_always_do():
    before = signal.getsignal(signal.SIGTERM)
    with Keeper([(argparse.Namespace(), CONFIG)], "cpu") as keeper:
        assert signal.getsignal(signal.SIGTERM) == before
        assert keeper.newest() == [None]
        keeper.after_step(lambda: 1 / 0)
    with Keeper([(argparse.Namespace(state=Path("somewhere")), CONFIG)], "cpu"):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
