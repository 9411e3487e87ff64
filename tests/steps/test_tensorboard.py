"""Event files are written where they are asked for, and a missing package is named."""

import sys
import types

import pytest

from ttfm.steps.tensorboard import event_files


def test_without_a_folder_nothing_is_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with event_files(None) as events:
        events.add_scalar("loss", 1.0, 1)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"pip install 'ttfm\[tensorboard\]'"), event_files(tmp_path):
        pass


def test_numbers_reach_the_writer_and_it_is_closed(monkeypatch, tmp_path):
    seen = []

    class SummaryWriter:
        def __init__(self, folder):
            seen.append(folder)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            seen.append("closed")

        def add_scalar(self, name, value, step):
            seen.append((name, value, step))

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    with event_files(tmp_path) as events:
        events.add_scalar("loss", 0.5, 10)
    assert seen == [str(tmp_path), ("loss", 0.5, 10), "closed"]
