"""A training step of every loss, in steps of flow matching and beside the passes through the network it consists of."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from tests.bench.scenes import Scene, scenes
from tests.bench.turns import in_turns, ratio
from ttfm.flow.flow_map import FlowMap
from ttfm.losses import load_modules

PASSES = ("forward", "forward-backward", "jvp", "jvp-backward", "teacher")
"""A gradient's way back is counted and timed apart from the pass that it goes back through."""


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with network, loss, its passes in units of the batch, seconds, and the ratios of times."""
    rows = []
    for network, scene in scenes(device).items():
        names = [name for name in sorted(load_modules()) if only in name or name == "fm"]
        rows += [{"network": network} | row for row in _of(scene, names, device)]
    return rows


def _of(scene: Scene, names: list[str], device: str) -> list[dict[str, Any]]:
    losses = load_modules()
    trainers = {name: scene.trainer(losses[name](), device) for name in names}
    steps = {name: partial(next, trainer.run()) for name, trainer in trainers.items()}
    times = in_turns(steps | _units(scene, device), device)
    middle = {name: statistics.median(found) for name, found in times.items()}
    # What a gradient's way back costs is what it adds to the pass.
    unit = {
        "forward": middle["unit forward"],
        "forward-backward": middle["unit forward and back"] - middle["unit forward"],
        "jvp": middle["unit jvp"],
        "jvp-backward": middle["unit jvp and back"] - middle["unit jvp"],
        "teacher": middle["unit forward"],
        "upkeep": middle["unit upkeep"],
    }
    rows: list[dict[str, Any]] = [{"loss": f"({name})", "seconds": value} for name, value in unit.items()]
    for name, trainer in trainers.items():
        calls = passes(trainer)
        predicted = sum(calls[kind] * unit[kind] for kind in PASSES)
        fm = sum(count * unit[kind] for kind, count in passes(trainers["fm"]).items()) + unit["upkeep"]
        rows.append({
            "loss": name,
            **calls,
            "seconds": middle[name],
            "relative": ratio(times[name], times["fm"]),
            "predicted": (predicted + unit["upkeep"]) / fm,
            "over passes": middle[name] / predicted if predicted else None,
            "over passes and upkeep": middle[name] / (predicted + unit["upkeep"]),
        })  # fmt: skip
    return rows


def passes(trainer: Any) -> dict[str, float]:
    """Passes of a step through the network, in units of the batch, averaged over the steps so far."""
    samples = trainer.options.batch * trainer.step
    models = [model for model in (trainer.student, trainer.target) if model is not None]
    found = {kind: sum(model.calls[kind] for model in models) / samples for kind in PASSES[:-1]}
    return found | {"teacher": trainer.calls["teacher"]}


def _units(scene: Scene, device: str) -> dict[str, Callable[[], Any]]:
    """One pass of each kind over a batch; and what every step does besides: its batch, optimizer and averages."""
    network = scene.network(device)
    flow = FlowMap(network, scene.precision)  # type: ignore[arg-type]
    upkeep = scene.trainer(load_modules()["fm"](), device)
    batch = upkeep.batch(0, torch.device(device))
    s, t, x = batch.s, batch.t, batch.x0
    gradients = [torch.randn_like(weight) * 1e-4 for weight in upkeep.network.parameters()]
    spare = copy.deepcopy(gradients)

    def forward() -> None:
        with torch.no_grad():
            flow.average_velocity(s, t, x)

    def forward_and_back() -> None:
        network.zero_grad()
        flow.average_velocity(s, t, x).square().sum().backward()

    def jvp() -> None:
        with torch.no_grad():
            flow.eulerian(s, t, x, x)

    def jvp_and_back() -> None:
        network.zero_grad()
        u, du = flow.eulerian(s, t, x, x)
        (u + du).square().sum().backward()

    def rest() -> None:
        upkeep.batch(1, torch.device(device))
        for weight, gradient, value in zip(upkeep.network.parameters(), gradients, spare, strict=True):
            weight.grad = gradient.copy_(value)
        upkeep.optimizer.step(1e-9)
        for average in upkeep.averages.values():
            average.update()

    named = {"forward": forward, "forward and back": forward_and_back, "jvp": jvp, "jvp and back": jvp_and_back}
    return {f"unit {name}": call for name, call in named.items()} | {"unit upkeep": rest}
