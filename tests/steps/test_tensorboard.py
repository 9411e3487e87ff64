"""Event files are written where they are asked for, and a missing package is named."""

import re
import sys
import types
from pathlib import Path

import pytest

from ttfm.steps.tensorboard import FOLDER, event_files, folder_of
from ttfm.steps.training import _speed


def test_without_a_folder_nothing_is_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with event_files(None) as events:
        events.add_scalar("loss", 1.0, 1)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[tensorboard\]'"), event_files(tmp_path):
        pass


def test_numbers_reach_the_writer_and_it_is_closed(monkeypatch, tmp_path):
    seen = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            seen.append((folder, purge_step))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            seen.append("closed")

        def add_scalar(self, name, value, step):
            seen.append((name, value, step))

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    with event_files(tmp_path, 9) as events:
        events.add_scalar("loss", 0.5, 10)
    assert seen == [(str(tmp_path), 10), ("loss", 0.5, 10), "closed"]


def test_what_is_written_can_be_read(tmp_path):
    """By the package itself, where it is installed."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with event_files(tmp_path) as events:
        for step in (1, 2):
            events.add_scalar("loss", 0.5 * step, step)
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 0.5), (2, 1.0)]


def test_the_trainings_of_a_workflow_have_a_folder_each(monkeypatch, tmp_path):
    config = {"experiment": "e", "problem": "p", "student": "s", "seed": 0}
    monkeypatch.delenv(FOLDER, raising=False)
    assert folder_of(None, config) is None
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert folder_of(None, config) == tmp_path / "e/p/s/0"
    assert folder_of(None, {"experiment": "e", "problem": "p"}) == tmp_path / "e/p"
    assert folder_of(Path("own"), config) == Path("own")


def test_samples_per_second_and_memory_stand_beside_the_loss():
    shown = _speed({"step": 300, "seconds": 5.0}, {"step": 100, "seconds": 1.0}, 128, "images", "cpu")
    assert shown.pop("images/s") == "6,400"
    assert re.fullmatch(r"\d+\.\d GiB", shown.pop("memory"))
    assert not shown
    # Nothing is divided by no time.
    assert "images/s" not in _speed({"step": 1, "seconds": 0.0}, {}, 128, "images", "cpu")
