"""What keeping the state of a training costs at the default interval."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.scenes import GPU, Scene, scenes
from ttfm.losses import load_modules
from ttfm.steps.keeping import COST, INTERVAL
from ttfm.training.states import States

ROUNDS = 7
LARGE = Scene(GPU["unet"].build, GPU["unet"].shape, batch=2)
"""The field's network for CIFAR-10, whose state is what its experiments save; its steps are not what is timed."""


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with network, seconds of a save, size of a state in MB, and the share of the time that saving takes.

    Wall time: a save waits for the disk.
    """
    rows = []
    for name, scene in ({"unet of 35M": LARGE} | scenes(device)).items():
        if only not in name:
            continue
        trainer = scene.trainer(load_modules()["itvm"](), device, 1)
        next(trainer.run())
        with tempfile.TemporaryDirectory() as folder:
            states, times = States(Path(folder), "bench"), []
            for _ in range(ROUNDS):
                started = time.perf_counter()
                states.save(trainer.state())
                times.append(time.perf_counter() - started)
            size = max(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        middle = statistics.median(times)
        # A save that takes longer than its share makes the next one wait.
        rows.append({
            "network": name,
            "seconds": middle,
            "state, MB": size / 1e6,
            "share of the time": middle / max(INTERVAL, middle / COST),
        })  # fmt: skip
    return rows
