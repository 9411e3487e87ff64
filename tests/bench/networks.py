"""Images per second of every network, and its operations per second beside those of a large matrix product."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from tests.bench.scenes import Scene, scenes
from tests.bench.turns import CALLS, in_turns, ratio
from ttfm.evaluation.sampling import any_to_any_path
from ttfm.flow.flow_map import FlowMap
from ttfm.losses import load_modules
from ttfm.networks.cost import forward_flops, parameter_count
from ttfm.networks.products import product


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with network, work, samples per second, operations per second and their ratio to the matrix product's.

    That is the faster one of torch's own and of the one that linear layers use; its row says which.
    """
    return [row for name, scene in scenes(device).items() if only in name for row in _of(name, scene, device)]


def _of(name: str, scene: Scene, device: str) -> list[dict[str, Any]]:
    network = scene.network(device)
    flow = FlowMap(network, scene.precision)
    x0 = torch.randn(scene.batch, *scene.shape, device=device)
    size = 8192 if device.startswith("cuda") else 1024
    kind = getattr(torch, scene.precision)
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))

    def sample() -> None:
        with torch.no_grad():
            any_to_any_path(flow, x0, 1)

    train = partial(next, scene.trainer(load_modules()["fm"](), device, CALLS).run())
    products: dict[str, Callable[[], Any]] = {
        "product, torch's": lambda: a @ b,
        "product, linear layers'": lambda: product(a, b, None),
    }
    calls: dict[str, Callable[[], Any]] = {"train": train, "sample": sample}
    times = in_turns(calls | products, device)
    faster, slower = sorted(products, key=lambda name: statistics.median(times[name]))
    del times[slower]
    # A gradient's way back costs two products for each of the way there.
    pass_flops = forward_flops(scene.network("cpu").to("meta"), scene.shape) * scene.batch
    flops = {"train": 3 * pass_flops, "sample": pass_flops, faster: 2 * size**3}
    return [
        {
            "network": name,
            "parameters": parameter_count(network),
            "batch": scene.batch,
            "precision": scene.precision,
            "work": work,
            "seconds": (middle := statistics.median(found)),
            "samples per second": None if work == faster else scene.batch / middle,
            "GFLOP/s": flops[work] / middle / 1e9,
            "of the matrix product": ratio(times[faster], found) * flops[work] / flops[faster],
        }
        for work, found in times.items()
    ]
