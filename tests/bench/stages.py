"""Every stage of an experiment: what its jobs took from start to end, and the work inside them alone.

The peak memory of such work is that of a process of its own, which does nothing else: ``python -m tests.bench.stages``.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_fidelity.utils import create_feature_extractor

from tests.bench.turns import in_turns
from tests.workflow.project import checkout, snakemake
from ttfm.evaluation import scores
from ttfm.evaluation.distances import energy_distance
from ttfm.evaluation.extractors import EXTRACTORS
from ttfm.evaluation.features import pieces
from ttfm.evaluation.neighbours import nearest
from ttfm.evaluation.perceptual import TRUNKS, load_lpips, mean_lpips
from ttfm.evaluation.weights import ASSETS, AssetUnavailable, find
from ttfm.provenance import peak_memory_mb

Call = Callable[[], Any]
COUNT, WIDTH = 4096, 2048
"""Samples, the fewest that a Fréchet distance takes, and features of each: as many as FID's network has."""
FEW = 256
"""Images that networks look at."""
ALONE = "a process with its libraries and no work"


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with stage, number of jobs, seconds, and peak memory in MiB.

    A job's seconds are those of the median job's process, its memory that of the largest one by Snakemake's samples.
    Work is timed in CPU time, on a GPU in wall time; what it reads is in memory before, weights of networks too.
    """
    rows = [_row(name, times, device) for name, times in _times(device, only).items()]
    if rows:
        rows.append({"stage": ALONE} | _memory(device, ""))
    return rows + ([] if only else _jobs())


def _jobs() -> list[dict[str, Any]]:
    """Of the miniature, where a job is little more than its start: what a job costs at least."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = checkout(Path(temporary) / "project", described=False)
        snakemake(folder, "--configfile", "workflow/experiments/tiny.yaml")
        found: dict[str, list[Any]] = {}
        for path in (folder / "results" / "tiny" / "benchmarks").rglob("*.tsv"):
            # Snakemake writes "-" or "NA" for the memory of a job too short to be sampled.
            found.setdefault(path.stem, []).append(pd.read_csv(path, sep="\t", na_values=["-", "NA"]).iloc[-1])
    return [
        {
            "stage": f"job: {step}",
            "jobs": len(jobs),
            "seconds": statistics.median(job["s"] for job in jobs),
            "peak memory, MiB": max((job["max_rss"] for job in jobs if pd.notna(job["max_rss"])), default=None),
        }
        for step, jobs in sorted(found.items())
    ]


def _times(device: str, only: str) -> dict[str, list[float]]:
    """Seconds of each piece of work, CPU time or wall time of a GPU."""
    work = {}
    for name, make in _works(device).items():
        if only in name:
            # A network whose weights are not at hand has no row.
            with suppress(AssetUnavailable):
                work[name] = make()
    return in_turns(work, device, rounds=3, repeat=1, warm=1)


def _row(name: str, times: list[float], device: str) -> dict[str, Any]:
    clock = "CPU seconds" if device == "cpu" else "seconds"
    return {"stage": name, clock: statistics.median(times)} | _memory(device, name)


def _memory(device: str, name: str) -> dict[str, Any]:
    """Peak memory of a process that does one piece of work, or none, once; on a GPU of that too."""
    command = [sys.executable, "-m", "tests.bench.stages", device, name]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def _alone(device: str, name: str) -> dict[str, Any]:
    """As :func:`_memory`, in this process."""
    if name:
        _works(device)[name]()()
    status = Path("/proc/self/status")
    # Not ``ru_maxrss``, in which a process's peak begins with that of the one that started it.
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="ascii")) if status.exists() else None
    memory = {"peak memory, MiB": round(int(found[1]) / 2**10, 1) if found else None}
    return memory if device == "cpu" else memory | {"peak GPU memory, MiB": peak_memory_mb(device)}


def _works(device: str) -> dict[str, Callable[[], Call]]:
    """What makes each piece of work, ready to be called, by its name."""
    features = f"{COUNT} x {WIDTH}"
    works: dict[str, Callable[[], Call]] = {
        f"statistics of {features} features": lambda: partial(scores.statistics, _features()[0]),
        f"Fréchet distance, {WIDTH} dimensions": lambda: partial(
            scores.frechet_from_statistics, *map(scores.statistics, _features())
        ),
        f"KID, {features}": lambda: partial(scores.kid, *_features()),
        f"precision and recall, {features}": lambda: partial(scores.precision_recall, *_features()),
        "energy distance, 4096 points": lambda: partial(energy_distance, torch.randn(4096, 2), torch.randn(4096, 2)),
        f"nearest of {COUNT} images for each of {COUNT}": lambda: partial(nearest, *_images(), device=device),
    }
    return works | _scorers(device)


@cache
def _features() -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features, float32 ``(COUNT, WIDTH)``."""
    numbers = np.random.default_rng(0)
    a, b = (numbers.standard_normal((COUNT, WIDTH), dtype=np.float32) for _ in range(2))
    return a, b


@cache
def _images() -> tuple[np.ndarray, np.ndarray]:
    """Two sets of images, uint8 ``(COUNT, 3, 32, 32)``."""
    numbers = np.random.default_rng(0)
    a, b = (numbers.integers(0, 256, (COUNT, 3, 32, 32), dtype=np.uint8) for _ in range(2))
    return a, b


def _scorers(device: str) -> dict[str, Callable[[], Call]]:
    """The networks that score images."""
    found: dict[str, Callable[[], Call]] = {
        f"LPIPS ({net}) of {FEW} pairs": partial(_lpips, net, device) for net in TRUNKS
    }
    names = ("cifar-resnet56", "inception-keras-768", "inception-v3-compat")
    return found | {f"features of {FEW} images, {name}": partial(_extractor, name, device) for name in names}


def _lpips(net: str, device: str) -> Call:
    model = load_lpips(find(TRUNKS[net]), net).to(device)
    x, y = (pixels[:FEW] for pixels in _images())
    return partial(mean_lpips, model, x, y)


def _extractor(name: str, device: str) -> Call:
    about, few = EXTRACTORS[name], _images()[0][:FEW]
    settings = {"feature_extractor_weights_path": find(ASSETS[name]), "verbose": False}
    network = create_feature_extractor(name, list(about.layers), cuda=device != "cpu", **settings)

    @torch.no_grad()
    def extract() -> list[list[Tensor]]:
        return [[layer.cpu() for layer in network(piece)] for piece in pieces(few, about.batch, device)]

    return extract


if __name__ == "__main__":
    print(json.dumps(_alone(*sys.argv[1:])))
