"""Teachers from elsewhere: by our keys or by an adapter, and every way in which a file is not one."""

import argparse
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ttfm.files import sha256
from ttfm.registry import build_network
from ttfm.steps.imported import import_teacher
from ttfm.steps.stored import load_network

NETWORK = {"name": "unet", "channels": 8, "embedding": 16}
CONFIG = {"problem": "digits", "network": NETWORK, "shape": [1, 8, 8], "training": {"batch": 4}}


@pytest.fixture
def state():
    torch.manual_seed(0)
    return build_network(NETWORK, (1, 8, 8)).state_dict()


@pytest.fixture
def taken(tmp_path):
    names = {"weights": "w.safetensors", "curve": "c.csv", "record": "record.json", "averages": "a.safetensors"}
    outputs = argparse.Namespace(snapshots=None, **{key: tmp_path / "teacher" / name for key, name in names.items()})

    def take(state, adapter=None, name="theirs.safetensors"):
        theirs = tmp_path / name
        save_file(state, theirs)
        asked = {"weights": str(theirs)} | ({"adapter": str(adapter)} if adapter else {})
        import_teacher(CONFIG | {"import": asked}, "cpu", "2000-01-01T00:00:00+00:00", outputs)
        return theirs, outputs

    return take


def test_weights_in_our_keys_become_the_teachers_and_their_origin_is_recorded(taken, state):
    theirs, outputs = taken(state)
    found = load_file(outputs.weights)
    assert all(torch.equal(found[name], value) for name, value in state.items())
    record = json.loads(outputs.record.read_text())
    assert record["status"] == "ok" and record["iterations"] == 0 and record["calls"] == {}
    assert record["imported"] == {str(theirs): sha256(theirs)}
    assert record["sha256"] == sha256(outputs.weights)
    load_network(outputs.weights, CONFIG)


def test_an_adapter_brings_other_keys_into_ours(taken, state, tmp_path):
    adapter = tmp_path / "adapter.py"
    adapter.write_text(
        "from safetensors.torch import load_file\n"
        "def load(path):\n"
        "    return {name.removeprefix('module.'): value for name, value in load_file(path).items()}\n"
    )
    _, outputs = taken({f"module.{name}": value for name, value in state.items()}, adapter)
    assert set(load_file(outputs.weights)) == set(state)
    assert str(adapter) in json.loads(outputs.record.read_text())["imported"]


def test_all_that_does_not_fit_is_named(taken, state):
    wrong = {name: value for name, value in state.items() if not name.startswith("stem.")}
    wrong |= {"extra.weight": torch.zeros(1), "head.bias": torch.zeros(3)}
    with pytest.raises(ValueError) as error:
        taken(wrong)
    message = str(error.value)
    assert "theirs.safetensors: not the weights of the problem's network" in message
    assert "missing: stem.weight, stem.bias" in message
    assert "unexpected: extra.weight" in message
    assert "of another shape: head.bias (3,), not (1,)" in message


def test_weights_that_are_not_finite_are_refused(taken, state):
    with pytest.raises(ValueError, match=r"not finite: head\.bias"):
        taken(state | {"head.bias": torch.full((1,), float("nan"))})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def load(path):\n    return [1]\n", "must return a dictionary of tensors"),
        ("def load(path):\n    raise KeyError('ema')\n", r"adapter\.py:2: KeyError: 'ema'"),
        ("def read(path):\n    return {}\n", "has no attribute 'load'"),
    ],
)
def test_a_wrong_adapter_is_named(taken, state, tmp_path, text, message):
    adapter = tmp_path / "adapter.py"
    adapter.write_text(text)
    with pytest.raises(ValueError, match=message):
        taken(state, adapter)


def test_a_file_that_is_no_safetensors_is_named(tmp_path):
    broken = tmp_path / "x.pt"
    broken.write_bytes(b"no header")
    with pytest.raises(ValueError, match=r"x\.pt: no safetensors .* name an adapter"):
        import_teacher(CONFIG | {"import": {"weights": str(broken)}}, "cpu", "", argparse.Namespace())
