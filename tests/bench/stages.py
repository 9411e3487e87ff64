"""Every stage of an experiment: what its jobs took by Snakemake's samples, and the work inside them alone."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tests.bench.turns import in_turns
from tests.workflow.project import checkout, snakemake
from ttfm.evaluation import scores
from ttfm.evaluation.distances import energy_distance
from ttfm.evaluation.extractors import EXTRACTORS
from ttfm.evaluation.features import extract
from ttfm.evaluation.neighbours import nearest
from ttfm.evaluation.perceptual import TRUNKS, load_lpips, mean_lpips
from ttfm.evaluation.weights import AssetUnavailable, find

COUNT, WIDTH = 2048, 2048
"""Samples, and features of each: as many as FID's network has."""
FEW = 256
"""Images that networks look at."""


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with stage, number of jobs, and the median job's seconds, CPU seconds and peak memory in MB."""
    rows = [row for row in _kernels(device) if only in row["stage"]]
    return rows + ([] if only else _jobs())


def _jobs() -> list[dict[str, Any]]:
    """Of the miniature, where a job is little more than its start: what a job costs at least."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = checkout(Path(temporary) / "project", described=False)
        snakemake(folder, "--configfile", "workflow/experiments/tiny.yaml")
        found: dict[str, list[Any]] = {}
        for path in (folder / "results" / "tiny" / "benchmarks").rglob("*.tsv"):
            found.setdefault(path.stem, []).append(pd.read_csv(path, sep="\t", na_values=["-", "NA"]).iloc[-1])
    return [
        {
            "stage": f"job: {step}",
            "jobs": len(jobs),
            "seconds": statistics.median(job["s"] for job in jobs),
            "CPU seconds": statistics.median(job["cpu_time"] for job in jobs),
            "peak memory, MB": max(job["max_rss"] for job in jobs),
        }
        for step, jobs in sorted(found.items())
    ]


def _kernels(device: str) -> list[dict[str, Any]]:
    numbers = np.random.default_rng(0)
    a, b = (numbers.standard_normal((COUNT, WIDTH)).astype(np.float32) for _ in range(2))
    of_a, of_b = scores.statistics(a), scores.statistics(b)
    points = [torch.randn(4096, 2) for _ in range(2)]
    images = [numbers.integers(0, 256, (COUNT, 3, 32, 32), dtype=np.uint8) for _ in range(2)]
    work: dict[str, Callable[[], Any]] = {
        f"statistics of {COUNT} x {WIDTH} features": lambda: scores.statistics(a),
        f"Fréchet distance, {WIDTH} dimensions": lambda: scores.frechet_from_statistics(of_a, of_b),
        f"KID, {COUNT} x {WIDTH}": lambda: scores.kid(a, b),
        f"precision and recall, {COUNT} x {WIDTH}": lambda: scores.precision_recall(a, b),
        "energy distance, 4096 points": lambda: energy_distance(*points),
        f"nearest of {COUNT} images for each of {COUNT}": lambda: nearest(*images, mirrored=False, device=device),
    } | _scorers(images, device)
    times = in_turns(work, device, rounds=3, repeat=1, warm=1)
    return [{"stage": name, "CPU seconds": statistics.median(found)} for name, found in times.items()]


def _scorers(images: list[np.ndarray], device: str) -> dict[str, Callable[[], Any]]:
    """The networks that score images, where their weights are at hand."""
    few = [pixels[:FEW] for pixels in images]
    found: dict[str, Callable[[], Any]] = {}
    for net, trunk in TRUNKS.items():
        try:
            model = load_lpips(find(trunk), net).to(device)
        except AssetUnavailable:
            continue
        found[f"LPIPS ({net}) of {FEW} pairs"] = partial(mean_lpips, model, *few)
    for name in ("cifar-resnet56", "inception-keras-768", "inception-v3-compat"):
        asset = EXTRACTORS[name].asset
        assert asset is not None
        try:
            path = find(asset)
        except AssetUnavailable:
            continue
        found[f"features of {FEW} images, {name}"] = partial(extract, few[0], name, path, device)
    return found
