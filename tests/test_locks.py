import os
import subprocess
import sys
import time

import pytest

from ttfm import locks
from ttfm.locks import claim, tidy

HOLD = (
    "import sys; from pathlib import Path; from ttfm.locks import claim\n"
    "claim(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def _let_go():
    yield
    while locks._held:
        locks._held.pop().close()


def test_a_living_run_is_noticed_and_a_dead_one_is_not(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "ready\n"
        assert not claim(tmp_path)
        assert claim(tmp_path, "something-else")
        other.kill()
    locks._held.pop(0).close()
    assert claim(tmp_path)


def test_the_locks_of_a_dead_run_are_removed(tmp_path):
    folder = tmp_path / ".snakemake" / "locks"
    folder.mkdir(parents=True)
    (folder / "0.input.lock").touch()
    tidy(tmp_path)
    assert not list(folder.iterdir())


def test_dates_in_the_future_are_brought_back_and_others_left(tmp_path):
    results = tmp_path / "results" / "e"
    results.mkdir(parents=True)
    for name, moved in (("ahead", 7200), ("further", 9000), ("before", -7200)):
        (results / name).touch()
        os.utime(results / name, (time.time() + moved,) * 2)
    before = (results / "before").stat().st_mtime_ns
    tidy(tmp_path)
    assert (results / "ahead").stat().st_mtime == (results / "further").stat().st_mtime <= time.time()
    assert (results / "before").stat().st_mtime_ns == before
