"""What a training step costs on a CPU without and with what ttfm does about it: products by oneDNN, freed memory kept.

Each way is a process of its own, since memory that was kept stays so; they take turns.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import Any

import torch

from tests.bench.scenes import Scene
from tests.bench.turns import ratio
from ttfm.devices import keep_freed_memory
from ttfm.losses import load_modules
from ttfm.networks import products
from ttfm.networks.mlp import MLP
from ttfm.networks.unet import UNet
from ttfm.training.together import Together

SCENES = {
    "mlp": Scene(partial(MLP, width=128, depth=4), (2,), 512),
    "unet": Scene(partial(UNet, channels=32, multipliers=[1, 2], patch=2), (3, 32, 32), 64),
}
"""The default experiment's network of points, and that of CIFAR-10 on a CPU."""
SEEDS = {"mlp": 3, "unet": 1}
NAMES = ("fm", "itvm", "lfmd", "meanflow_distill")
WAYS = {"neither": (False, False), "oneDNN": (True, False), "memory kept": (False, True), "both": (True, True)}
ROUNDS, STEPS, WARM = 5, {"mlp": 40, "unet": 5}, 3


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with network, loss, seeds that train at once, seconds of a step, and its time without in that with.

    Raises:
        ValueError: on a GPU, where neither plays a part.
    """
    if device != "cpu":
        raise ValueError("what is measured here is about CPUs: --device cpu")
    rows = []
    for network, name in ((network, name) for network in SCENES for name in NAMES if only in f"{network} {name}"):
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way in WAYS:
                command = [sys.executable, "-m", "tests.bench.savings", network, name, way]
                found[way].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
        row: dict[str, Any] = {"network": network, "loss": name, "seeds at once": SEEDS[network]}
        row |= {f"seconds, {way}": statistics.median(times) for way, times in found.items()}
        rows.append(row | {"neither / both": ratio(found["neither"], found["both"])})
    return rows


def step_seconds(network: str, name: str, way: str) -> float:
    """CPU seconds of a training step, the system's for this process among them."""
    onednn, kept = WAYS[way]
    able = products.onednn_is_faster()
    products.onednn_is_faster = lambda: onednn and able  # type: ignore[assignment]
    if kept:
        keep_freed_memory()
    torch.set_num_threads(1)
    loss, count = load_modules()[name](), WARM + STEPS[network]
    trainers = [SCENES[network].trainer(loss, "cpu", count, seed) for seed in range(SEEDS[network])]
    steps: Any = Together(trainers).run() if len(trainers) > 1 else trainers[0].run()
    for _ in range(WARM):
        next(steps)
    started = time.process_time()
    for _ in range(STEPS[network]):
        next(steps)
    return (time.process_time() - started) / STEPS[network]


if __name__ == "__main__":
    print(json.dumps(step_seconds(*sys.argv[1:])))
