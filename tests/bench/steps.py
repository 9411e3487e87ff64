"""A training step of every loss, in steps of flow matching and beside the passes through the network it consists of."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.bench.passes import EVERY_KIND, Passage
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
    unit = _unit_costs({name: statistics.median(found) for name, found in times.items()})
    rows: list[dict[str, Any]] = [{"loss": f"({name})", "seconds": value} for name, value in unit.items()]
    rounds = {name: step.rounds(REPEAT) for name, step in steps.items()}
    # The mean over rounds of the passes, and of the times as they are: both of the same steps.
    calls = {name: _mean(found, scene.batch * REPEAT) for name, found in rounds.items()}
    calls = {name: {kind: count for kind, count in found.items() if kind in unit} for name, found in calls.items()}
    predicted = {name: sum(count * unit[kind] for kind, count in found.items()) for name, found in calls.items()}
    for name in losses:
        seconds = _typical(times[name], rounds[name])
        over = seconds / predicted[name] if predicted[name] else None
        rows.append({
            "loss": name,
            **calls[name],
            "seconds": seconds,
            "in steps of fm": _typical(_ratios(times[name], times["fm"]), rounds[name]),
            "in steps of lfmd": _typical(_ratios(times[name], times["lfmd"]), rounds[name]),
            "predicted, in steps of fm": (predicted[name] + unit["upkeep"]) / (predicted["fm"] + unit["upkeep"]),
            "over passes": over,
            f"within {LIMIT} of passes": None if over is None else over <= LIMIT,
            "over passes and upkeep": seconds / (predicted[name] + unit["upkeep"]),
        })  # fmt: skip
    return rows


def _typical(values: list[float], rounds: list[tuple[int, ...]]) -> float:
    """The typical value of rounds, of which those of the same passes are alike."""
    return typical(list(zip(values, rounds, strict=True)))


def _ratios(a: list[float], b: list[float]) -> list[float]:
    return [x / y for x, y in zip(a, b, strict=True)]


def _mean(rounds: list[tuple[int, ...]], samples: int) -> dict[str, float]:
    """The passes of a step in units of the batch, by kind, of rounds with so many ``samples`` each."""
    return {
        kind: statistics.fmean(found) / samples
        for kind, found in zip(EVERY_KIND, zip(*rounds, strict=True), strict=True)
    }


def _unit_costs(middle: dict[str, float]) -> dict[str, float]:
    """Seconds of every kind of pass over the batch, and of what a step does besides.

    Args:
        middle: median seconds of what :func:`_units` returned, beside others.
    """
    unit: dict[str, float] = {}
    for kind in ("forward", "exact", "jvp"):
        if f"unit {kind}" in middle:
            # What a gradient's way back costs is what it adds to the pass.
            unit[kind] = middle[f"unit {kind}"]
            unit[f"{kind}-backward"] = middle[f"unit {kind} and back"] - middle[f"unit {kind}"]
    return unit | {kind: middle[f"unit {kind}"] for kind in ("teacher", "upkeep")}


def _units(scene: Scene, device: str) -> dict[str, Callable[[], Any]]:
    """One pass of each kind over a batch; and what every step does besides: its batch, optimizer and averages.

    What a loss asks to be exact has a unit of its own where the precision is lower.
    """
    # Its networks lie in memory as those of every training do.
    trainer = scene.trainer(load_modules()["fm"](), device, 1)
    network, teacher = trainer.network, trainer.teacher
    assert teacher is not None
    batch = trainer.batch(0, torch.device(device))
    s, t, x = batch.s, batch.t, batch.x0
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

    calls: dict[str, Callable[[], Tensor]] = {
        "forward": lambda: flow.average_velocity(s, t, x),
        "jvp": lambda: torch.add(*flow.eulerian(s, t, x, x)),
    }
    if scene.precision != "float32":
        calls["exact"] = lambda: exact.average_velocity(s, t, x)
    units: dict[str, Callable[[], Any]] = {f"unit {kind}": torch.no_grad()(call) for kind, call in calls.items()}
    units |= {f"unit {kind} and back": partial(_and_back, network, call) for kind, call in calls.items()}
    return units | {"unit teacher": lambda: teacher(t, x), "unit upkeep": rest}


def _and_back(network: nn.Module, call: Callable[[], Tensor]) -> None:
    network.zero_grad()
    call().square().sum().backward()
