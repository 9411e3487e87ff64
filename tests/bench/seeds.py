"""Seeds of a small network that train at once, beside each alone and beside a loop that spares no thought on speed."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from tests.bench.scenes import Scene, scenes
from tests.bench.turns import CALLS, in_turns, ratio
from ttfm.flow.flow_map import FlowMap
from ttfm.losses import load_modules
from ttfm.training.together import Together

NAMES = ("fm", "cd", "meanflow", "lfmd", "itvm")
FEW = 4
"""Trainings one after another, about whose price more of them together are to have."""
COUNTS = (FEW, 16)


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with loss, number of seeds, seconds of a step, and what the step costs in steps of one training alone.

    Beside those steps of one training, what the seeds together cost in those of four that train one after another.
    """
    scene, losses = scenes(device)["mlp"], load_modules()
    rows = []
    for name in (name for name in NAMES if only in name):
        calls: dict[str, Callable[[], Any]] = {
            "alone": partial(next, scene.trainer(losses[name](), device, CALLS).run()),
            "plain": partial(next, plain_loop(scene, losses[name](), device)),
        }
        calls |= {str(n): partial(next, _together(scene, losses[name](), device, n)) for n in COUNTS}
        times = in_turns(calls, device)
        for count in COUNTS:
            rows.append({
                "loss": name,
                "seeds": count,
                "seconds alone": statistics.median(times["alone"]),
                "seconds together": statistics.median(times[str(count)]),
                "together / alone": ratio(times[str(count)], times["alone"]),
                f"together / {FEW} alone": ratio(times[str(count)], times["alone"]) / FEW,
                "steps/s over the plain loop": count * ratio(times["plain"], times[str(count)]),
                "alone, steps/s over the plain loop": ratio(times["plain"], times["alone"]),
            })  # fmt: skip
    return rows


def _together(scene: Scene, loss: Any, device: str, count: int) -> Iterator[Any]:
    return Together([scene.trainer(loss, device, CALLS, seed) for seed in range(count)]).run()


def plain_loop(scene: Scene, loss: Any, device: str) -> Iterator[None]:
    """The yardstick: torch's own layers, optimizer and forward mode, every loss looked at."""
    trainer = scene.trainer(loss, device, CALLS)
    network = copy.deepcopy(trainer.network)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.__class__ = nn.Linear
    average = copy.deepcopy(network).requires_grad_(False)
    target = copy.deepcopy(network).requires_grad_(False) if loss.target_decay else network
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.0)
    student, step = FlowMap(network), 0
    while True:
        batch = trainer.batch(step, torch.device(device))
        followed = FlowMap(target) if loss.target_decay is not None else None
        value = loss.total(loss.terms(batch, student, followed, trainer.teacher if loss.needs_teacher else None))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        with torch.no_grad():
            for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
                mean.mul_(0.999).add_(weight, alpha=0.001)
            if loss.target_decay:
                for mean, weight in zip(target.parameters(), network.parameters(), strict=True):
                    mean.mul_(loss.target_decay).add_(weight, alpha=1 - loss.target_decay)
        if not math.isfinite(value.item()):
            raise ValueError(f"the plain loop of {loss.name!r} broke down at step {step}")
        step += 1
        yield
