"""Which device a step gets."""

import subprocess
import sys
from contextlib import ExitStack

import pytest
import torch

from ttfm.devices import free_gpu, pick_device

HOLD = """
import sys
from pathlib import Path
from ttfm.devices import free_gpu
print(free_gpu(2, Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def holder(stack, folder):
    """A process that has taken a GPU, until its standard input is closed or it is killed; and which."""
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    )
    return process, int(process.stdout.readline())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_absent_is_refused_and_auto_takes_the_cpu():
    with pytest.raises(ValueError, match=r"device: 'cuda' was asked for and torch finds no GPU; use 'auto' or 'cpu'"):
        pick_device("cuda")
    assert pick_device("auto") == pick_device("cpu") == "cpu"


def test_processes_spread_over_the_gpus_and_give_them_back_even_when_killed(tmp_path):
    with ExitStack() as stack:
        processes, gpus = zip(*(holder(stack, tmp_path) for _ in range(3)), strict=True)
        # The third shares a GPU that has one process, as many as the other.
        assert gpus == (0, 1, 0)
        processes[1].kill()
        processes[1].wait()
        assert free_gpu(2, tmp_path) == 1
        # Several runs in one process stay where they are.
        assert free_gpu(2, tmp_path) == 1


def test_among_several_gpus_the_chosen_one_is_the_current(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr("ttfm.devices.free_gpu", lambda count: count - 1)
    assert pick_device("auto") == "cuda"
    assert chosen == [3]
