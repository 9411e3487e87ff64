"""Who is told to stop by a training that finds another one in its folder, and who is not."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from ttfm.steps import sole as module
from ttfm.steps.sole import sole

SLEEP = "import time; print('ready', flush=True); time.sleep(600)"


@pytest.fixture
def held(tmp_path, monkeypatch):
    """Writes the name of an owner into a lock that is held; it is let go when the owner has been waited for."""
    path = tmp_path / "state.lock"
    holder = path.open("a+", encoding="utf-8")
    fcntl.flock(holder, fcntl.LOCK_EX)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: holder.close())

    def write(pid):
        holder.write(json.dumps({"host": socket.gethostname(), "pid": pid}))
        holder.flush()
        return tmp_path / "state"

    yield write
    holder.close()


@pytest.mark.parametrize("ours", [True, False])
def test_only_a_process_of_this_package_is_told_to_stop(ours, held):
    words = ["ttfm"] if ours else []
    with subprocess.Popen([sys.executable, "-c", SLEEP, *words], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        with sole(held(other.pid)):
            pass
        if not ours:
            assert other.poll() is None
            other.kill()
    assert other.returncode == (-signal.SIGTERM if ours else -signal.SIGKILL)


def test_a_process_of_another_user_is_waited_for(held, monkeypatch, caplog):
    def refuse(pid, number):
        raise PermissionError

    monkeypatch.setattr(module, "_is_ours", lambda pid: True)
    monkeypatch.setattr(module.os, "kill", refuse)
    with sole(held(12345)):
        pass
    assert "process 12345 is another user's and cannot be told; waiting for it" in caplog.text


def test_a_lock_that_was_let_go_names_nobody(tmp_path):
    path = tmp_path / "state.lock"
    with sole(tmp_path / "state"):
        looking = path.open(encoding="utf-8")
        assert json.loads(looking.read())["pid"] == os.getpid()
    with looking:
        looking.seek(0)
        assert looking.read() == ""
    assert not path.exists()
