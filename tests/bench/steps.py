"""A training step of every loss, in steps of flow matching and beside the passes through the network it consists of."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.bench.passes import EVERY_KIND, Passage, Prices, samples
from tests.bench.scenes import Scene, scenes
from tests.bench.turns import REPEAT, ROUNDS, WARM, in_turns
from ttfm.flow.flow_map import FlowMap
from ttfm.losses import Loss, load_modules
from ttfm.losses.itvm import ITVM
from ttfm.steps.timing import typical

YARDSTICKS = ("fm", "lfmd")
LIMIT = 1.15
"""What a step may take at most, in the sum of its passes."""


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with network, loss, its passes in units of the batch, seconds, and the ratios of times."""
    return [{"network": network} | row for network, scene in scenes(device).items() for row in _of(scene, only, device)]


def _of(scene: Scene, only: str, device: str) -> list[dict[str, Any]]:
    losses: dict[str, Loss] = {name: loss() for name, loss in sorted(load_modules().items())}
    losses["itvm, student_form average"] = ITVM(student_form="average")
    losses = {name: loss for name, loss in losses.items() if only in name or name in YARDSTICKS}
    # What is timed is a training from its first step to its last: with a curriculum, all of it.
    steps = {
        name: Passage(scene.trainer(loss, device, ROUNDS * REPEAT), WARM * REPEAT) for name, loss in losses.items()
    }
    times = in_turns(steps | _units(scene, device), device)
    middle = {name: statistics.median(found) for name, found in times.items()}
    prices, upkeep = _prices(middle, scene.batch), middle["unit upkeep"]
    rows: list[dict[str, Any]] = [_unit_row(kind, prices, scene.batch) for kind in prices.timed]
    rows.append({"loss": "(upkeep)", "seconds": upkeep})
    rounds = {name: step.rounds(REPEAT) for name, step in steps.items()}
    alike = {name: [samples(found) for found in each] for name, each in rounds.items()}
    # The mean over rounds of the passes' prices, and of the times as they are: both of the same steps.
    predicted = {name: statistics.fmean(map(prices.total, each)) / REPEAT for name, each in rounds.items()}
    for name in losses:
        seconds = _typical(times[name], alike[name])
        over = seconds / predicted[name] if predicted[name] else None
        calls = zip(EVERY_KIND, (statistics.fmean(found) for found in zip(*alike[name], strict=True)), strict=True)
        rows.append({
            "loss": name,
            **{kind: count / scene.batch / REPEAT for kind, count in calls if kind in prices},
            "seconds": seconds,
            "in steps of fm": _typical(_ratios(times[name], times["fm"]), alike[name]),
            "in steps of lfmd": _typical(_ratios(times[name], times["lfmd"]), alike[name]),
            "predicted, in steps of fm": (predicted[name] + upkeep) / (predicted["fm"] + upkeep),
            "over passes": over,
            f"within {LIMIT} of passes": None if over is None else over <= LIMIT,
            "over passes and upkeep": seconds / (predicted[name] + upkeep),
        })  # fmt: skip
    return rows


def _typical(values: list[float], rounds: list[tuple[int, ...]]) -> float:
    """The typical value of rounds, of which those of the same passes are alike."""
    return typical(list(zip(values, rounds, strict=True)))


def _ratios(a: list[float], b: list[float]) -> list[float]:
    return [x / y for x, y in zip(a, b, strict=True)]


def _sizes(batch: int) -> list[int]:
    """Those that passes are timed at: parts of a batch, as losses send through the network, and two at once."""
    return sorted({max(1, batch // 8), max(1, batch // 4), max(1, batch // 2), batch, 2 * batch})


def _prices(middle: Mapping[str, float], batch: int) -> Prices:
    """Seconds of every kind of pass.

    Args:
        middle: median seconds of what :func:`_units` returned, beside others.
        batch: samples of a step.
    """
    timed: dict[str, dict[int, float]] = {}
    for size in _sizes(batch):
        for kind in ("forward", "exact", "jvp", "teacher"):
            if (there := f"unit {kind} of {size}") in middle:
                timed.setdefault(kind, {})[size] = middle[there]
            if (back := f"{there} and back") in middle:
                # What a gradient's way back costs is what it adds to the pass.
                timed.setdefault(f"{kind}-backward", {})[size] = middle[back] - middle[there]
    return Prices(timed)


def _unit_row(kind: str, prices: Prices, batch: int) -> dict[str, Any]:
    whole = prices.of(kind, batch)
    return {
        "loss": f"({kind})",
        "seconds": whole,
        "an eighth of the batch": prices.of(kind, max(1, batch // 8)) / whole,
    }


def _units(scene: Scene, device: str) -> dict[str, Callable[[], Any]]:
    """One pass of each kind and size; and what every step does besides: its batch, optimizer and averages.

    What a loss asks to be exact has a unit of its own where the precision is lower.
    """
    # Its networks lie in memory as those of every training do.
    trainer = scene.trainer(load_modules()["fm"](), device, 1)
    network, teacher = trainer.network, trainer.teacher
    assert teacher is not None
    flow, exact = FlowMap(network, scene.precision), FlowMap(network)
    gradients = [torch.randn_like(weight) * 1e-4 for weight in network.parameters()]
    spare = copy.deepcopy(gradients)

    def rest() -> None:
        trainer.batch(0, torch.device(device))
        for weight, gradient, value in zip(network.parameters(), gradients, spare, strict=True):
            weight.grad = gradient.copy_(value)
        trainer.optimizer.step(1e-9)
        for average in trainer.averages.values():
            average.update()

    units: dict[str, Callable[[], Any]] = {"unit upkeep": rest}
    batch = trainer.batch(0, torch.device(device))
    for size in _sizes(scene.batch):
        # Two batches' worth are one batch twice over: what a sample shows changes no time.
        s, t, x = (torch.cat([value, value])[:size].contiguous() for value in (batch.s, batch.t, batch.x0))
        calls: dict[str, Callable[[], Tensor]] = {
            "forward": partial(flow.average_velocity, s, t, x),
            "jvp": partial(_derivative, flow, s, t, x),
        }
        if scene.precision != "float32":
            calls["exact"] = partial(exact.average_velocity, s, t, x)
        units |= {f"unit {kind} of {size}": torch.no_grad()(call) for kind, call in calls.items()}
        units |= {f"unit {kind} of {size} and back": partial(_and_back, network, call) for kind, call in calls.items()}
        units[f"unit teacher of {size}"] = partial(teacher, t, x)
    return units


def _derivative(flow: FlowMap, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
    return torch.add(*flow.eulerian(s, t, x, x))


def _and_back(network: nn.Module, call: Callable[[], Tensor]) -> None:
    network.zero_grad()
    call().square().sum().backward()
