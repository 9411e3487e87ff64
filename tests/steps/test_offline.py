"""What the teacher's ODE leaves in files, each made once, and what a loss gets of it."""

import argparse
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ttfm.files import write_arrays, write_json
from ttfm.losses import load_modules
from ttfm.steps import pairs, schedules
from ttfm.steps.stored import load_trajectories, tensors

LOSSES = load_modules()
CONFIG = {
    "experiment": "stored",
    "problem": "ring",
    "device": "cpu",
    "kind": "points",
    "shape": [2],
    "closed_form": True,
    "source": {"name": "gaussian"},
    "data": {"name": "ring"},
    "network": {"name": "mlp", "width": 8, "depth": 2},
    "trajectories": {"count": 6, "kept": 5, "seed": 0, "solver": "euler", "steps": 4},
}
KINDS = ("pairs", "trajectories", "schedules")


@pytest.fixture
def stored(tmp_path):
    """Trajectories in a file of their own, and their record; ``reason`` is why there are none."""

    def made(reason=""):
        times = np.linspace(0, 1, 5, dtype=np.float32)
        path = np.random.default_rng(0).standard_normal((5, 6, 2)).astype(np.float32)
        write_arrays(tmp_path / "trajectories.npz", {} if reason else {"times": times, "path": path})
        write_json(tmp_path / "trajectories.json", {"status": "failed" if reason else "ok", "reason": reason})
        write_json(tmp_path / "config.json", CONFIG)
        for step in (pairs, schedules):
            name = step.__name__.rpartition(".")[2]
            arguments = {"config": tmp_path / "config.json", "teacher": None, "images": None}
            arguments |= {"trajectories": tmp_path / "trajectories.npz"}
            arguments |= {"trajectories_record": tmp_path / "trajectories.json"}
            arguments |= {"out": tmp_path / f"{name}.npz", "record": tmp_path / f"{name}.json"}
            step.run(argparse.Namespace(**arguments))
        return SimpleNamespace(path=torch.from_numpy(path), **{name: tmp_path / f"{name}.npz" for name in KINDS})

    return made


@pytest.fixture(autouse=True)
def closed_form_teacher(monkeypatch):
    from ttfm.data.densities import Ring

    monkeypatch.setattr(schedules, "load_network", lambda *arguments: None)
    monkeypatch.setattr(schedules, "teacher_field", lambda *arguments: Ring().field())


def given(found, *kinds):
    return argparse.Namespace(**{kind: getattr(found, kind) if kind in kinds else None for kind in KINDS})


def test_pairs_are_the_ends_and_all_that_reflow_gets(stored):
    found = stored()
    assert {name: value.shape for name, value in tensors(found.pairs).items()} == {"x0": (6, 2), "x1": (6, 2)}
    loaded = load_trajectories(given(found, "pairs"), LOSSES["reflow"](), "cpu", {"network": {}})
    assert torch.equal(loaded.path, found.path[[0, -1]])
    assert loaded.times.tolist() == [0.0, 1.0] and not loaded.schedules


def test_trajectories_come_with_schedules_only_where_they_are_asked_for(stored):
    found = stored()
    loaded = load_trajectories(given(found, "trajectories"), LOSSES["cmt"](), "cpu", {"network": {}})
    assert torch.equal(loaded.path, found.path) and not loaded.schedules
    loaded = load_trajectories(given(found, "trajectories", "schedules"), LOSSES["boss"](), "cpu", {"network": {}})
    assert sorted(loaded.schedules) == [1, 2, 3, 4]
    for steps, times in loaded.schedules.items():
        assert times[0] == 0 and times[-1] == 1 and set(times.tolist()) <= set(loaded.times.tolist())
        assert len(times) == steps + 1


@pytest.mark.parametrize(
    ("name", "kinds", "message"),
    [
        ("reflow", ["trajectories"], "'reflow' trains on the teacher's stored pairs; give --pairs"),
        ("cmt", ["pairs"], "'cmt' trains on the teacher's stored trajectories; give --trajectories"),
        ("boss", ["trajectories"], "'boss' trains on the teacher's stored schedules; give --schedules"),
    ],
)
def test_what_was_not_given_is_named(stored, name, kinds, message):
    with pytest.raises(ValueError, match=message) as error:
        load_trajectories(given(stored(), *kinds), LOSSES[name](), "cpu", {"network": {}})
    assert re.search(
        rf"^\S*losses/{name}\.py:\d+: loss '{name}' .*, the file that `python -m ttfm \w+` writes$", str(error.value)
    )


def test_a_teacher_that_failed_leaves_empty_files_and_its_reason(stored, tmp_path):
    found = stored("the teacher diverged")
    assert not tensors(found.pairs) and not tensors(found.schedules)
    assert "the teacher diverged" in (tmp_path / "pairs.json").read_text()
    with pytest.raises(ValueError, match=r"pairs\.npz holds no pairs, because the teacher failed"):
        load_trajectories(given(found, "pairs"), LOSSES["reflow"](), "cpu", {"network": {}})


def test_other_losses_ask_for_nothing(stored):
    assert load_trajectories(given(stored()), LOSSES["itvm"](), "cpu", {"network": {}}) is None
