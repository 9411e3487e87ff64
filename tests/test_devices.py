"""Which device a step gets."""

import os
import platform
import subprocess
import sys
from contextlib import ExitStack

import pytest
import torch

from ttfm.devices import free_gpu, pick_device, take_gpus

HOLD = """
import sys
from pathlib import Path
from ttfm.devices import free_gpu
print(free_gpu(2, Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


STEPS = """
import ctypes, resource
import torch
from ttfm.devices import pick_device
def faults():
    for step in range(55):
        if step == 5:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        held = [torch.full((2**16,), 1.0) for _ in range(200)]
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
# What glibc does by itself depends on what else lies in memory: here it gives every array back.
ctypes.CDLL(None).mallopt(-3, 2**17)
print(faults())
pick_device("cpu")
print(faults())
"""


def holder(stack, folder):
    """A process that has taken a GPU, until its standard input is closed or it is killed; and which."""
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    )
    return process, int(process.stdout.readline())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator has these settings")
def test_freed_memory_is_not_asked_for_again():
    """Pages that the system clears anew: 200 arrays of 256 KiB each step are 12,800 of 4 KiB."""
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert kept < 500 < 100_000 < given_back


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


def test_ranks_get_gpus_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
    with ExitStack() as stack:
        # Another process has the first.
        folder = tmp_path / f"ttfm-gpus-{os.getuid()}" / "4,6,7"
        assert holder(stack, folder)[1] == 0
        take_gpus(2)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "6,7"
    with pytest.raises(ValueError, match="4 ranks were asked for and torch finds 3 GPUs"):
        take_gpus(4)


def test_a_folder_of_locks_that_is_not_ours_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"ttfm-gpus-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is another user's"):
        take_gpus(1)
