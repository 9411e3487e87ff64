"""What large images leave of batches, and what is held of them."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from ttfm.evaluation.paired import squared_errors
from ttfm.pieces import ROOM, at_once

SHAPE = (3, 256, 256)
WRITTEN = """
import resource
import sys
from pathlib import Path

import torch

from ttfm.evaluation.sample_sets import Set, write_sets

torch.set_num_threads(1)
folder, shape = Path(sys.argv[1]), (150, 3, 256, 256)
sets = [(Set({}), lambda start, end: torch.ones(end - start, *shape[1:], dtype=torch.uint8)) for _ in range(12)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_sets(folder / "a.npy", folder / "a.json", sets, shape, 10, 1.0)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
PEAK = """
import resource
import sys

import numpy as np
import torch

from ttfm.data import sources
from ttfm.data.images import Images
from ttfm.data.sources import NormAligned, PFGM
from ttfm.evaluation.neighbours import nearest
from ttfm.evaluation.paired import endpoint_rmse, l2

torch.set_num_threads(1)
sources.MEASURED = 400
images = np.load(sys.argv[1], mmap_mode="r")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if sys.argv[2] == "nearest":
    assert nearest(images[:2], images).distance.tolist() == [[0.0], [0.0]]
elif sys.argv[2] == "pairs":
    floats = torch.ones(len(images), *images.shape[1:])
    assert l2(floats, floats[:1].expand_as(floats)) == endpoint_rmse(floats, floats) == 0
else:
    assert {"norm_aligned": NormAligned, "pfgm": PFGM}[sys.argv[2]](Images(images)) is not None
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def sparse(path, count):
    """Black images on disk, which take no room there."""
    return np.lib.format.open_memmap(path, "w+", np.uint8, (count, *SHAPE))


def test_small_images_are_taken_as_many_as_ever_and_large_ones_by_their_size():
    assert at_once((3, 32, 32), 4096) == 4096
    assert at_once((2,), 1024) == 1024
    assert at_once(SHAPE, 4096) == ROOM // (3 * 256 * 256) == 85
    assert at_once(SHAPE, 1024, 2**21) == 10
    assert at_once((3, 10_000, 10_000), 64) == 1
    assert at_once((), 8) == 8


def test_errors_of_large_images_are_taken_piece_by_piece(tmp_path):
    images = sparse(tmp_path / "a.npy", 300)
    tracemalloc.start()
    assert squared_errors(images, images).tolist() == [0.0] * 300
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 300 of them are 450 MiB as float64, four times over.
    assert peak < 4.5 * 8 * ROOM


@pytest.mark.parametrize("what", ["nearest", "norm_aligned", "pfgm", "pairs"])
def test_what_torch_holds_of_large_images_has_a_bound(tmp_path, what):
    sparse(tmp_path / "a.npy", 400)
    command = [sys.executable, "-c", PEAK, str(tmp_path / "a.npy"), what]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # All at once took 650 MiB and more; pairs of floats, 300 MiB themselves, 2.4 GiB.
    assert float(done.stdout) < {"nearest": 400, "norm_aligned": 450, "pfgm": 150, "pairs": 900}[what]


def test_no_more_than_a_set_of_images_is_held_while_many_are_written(tmp_path):
    done = subprocess.run([sys.executable, "-c", WRITTEN, str(tmp_path)], capture_output=True, text=True, check=True)
    # A set is 28 MiB, and all of them are 340.
    assert float(done.stdout) < 120
