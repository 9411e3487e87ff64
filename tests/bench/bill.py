"""What the full experiments cost by arithmetic: their passes through the network, at an assumed rate of the device."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import yaml

from tests.bench.passes import Told, passes
from tests.bench.scenes import Scene
from ttfm.experiment import read_schema
from ttfm.flow.fields import GuidedField
from ttfm.losses import load_modules
from ttfm.networks.cost import forward_flops
from ttfm.networks.mlp import MLP
from ttfm.planning import SCHEMA
from ttfm.registry import build_network, describe
from ttfm.resolve import resolve

NAMES = ("cifar10-30min", "cifar10-hour", "cifar10", "cifar10-dit", "celeba64", "celebahq256", "celebahq256-latent")
FORWARDS = {"forward": 1, "forward-backward": 2, "exact": 1, "exact-backward": 2, "jvp": 2, "jvp-backward": 4}
"""Passes in forward passes: a gradient's way back is two, and so is forward mode."""
IN_FLOAT32 = ("exact", "exact-backward", "jvp", "jvp-backward")
"""Passes in full precision whatever the training's is: forward mode, and what a loss asks to be exact."""
BFLOAT16, FLOAT32, SHARE = 989e12, 67e12, 0.4
"""FLOP/s of an H200 by its data sheet, dense, and the share of them that is assumed."""
STEPS = 100
"""Steps of the training whose passes are averaged: some losses do not the same in every part of a training."""


def measure(device: str, only: str = "") -> list[dict[str, Any]]:
    """Rows with experiment, its trainings, exaFLOP, and the hours that these would take on 1, 8 and 64 devices.

    Nothing here is timed. On several devices every training has one of its own, after the teacher.
    """
    return [_row(name) for name in NAMES if only in name]


def _row(name: str) -> dict[str, Any]:
    config = yaml.safe_load(Path(f"workflow/experiments/{name}.yaml").read_text(encoding="utf-8"))
    plan = resolve(config, describe(), read_schema(SCHEMA), f"{name}.yaml")
    teachers, students = {}, defaultdict(list)
    for path, about in plan.configs.items():
        if path.endswith("/teacher.json") and "import" not in about:
            teachers[about["problem"]] = _flops(about)
        if path.endswith("/student.json"):
            students[about["problem"]].append(_flops(about))
    each = [flops.sum().item() / 1e18 for found in students.values() for flops in found]
    row: dict[str, Any] = {
        "experiment": name,
        "trainings": len(teachers) + len(each),
        "EFLOP of a teacher": max(flops.sum().item() for flops in teachers.values()) / 1e18,
        "of a student": f"{min(each):.3g} to {max(each):.3g}",
        "in all": sum(flops.sum().item() for flops in teachers.values()) / 1e18 + sum(each),
    }
    for rates, what in (((BFLOAT16, FLOAT32), ""), ((BFLOAT16, BFLOAT16), ", all bfloat16")):
        hours = SHARE * 3600 * torch.tensor(rates, dtype=torch.float64)
        first = {problem: (flops / hours).sum().item() for problem, flops in teachers.items()}
        then = {problem: [(flops / hours).sum().item() for flops in found] for problem, found in students.items()}
        for count in (1, 8, 64):
            row[f"hours on {count}{what}"] = _makespan(first, then, count)
    return row


def _makespan(teachers: dict[str, float], students: dict[str, list[float]], devices: int) -> float:
    """Hours until the last device is done, the longest trainings first."""
    free = [0.0] * devices
    ready: dict[str, float] = {}
    for problem, hours in sorted(teachers.items(), key=lambda item: -item[1]):
        place = free.index(min(free))
        free[place] += hours
        ready[problem] = free[place]
    jobs = sorted(((hours, problem) for problem, found in students.items() for hours in found), reverse=True)
    for hours, problem in jobs:
        place = free.index(min(free))
        free[place] = max(free[place], ready.get(problem, 0.0)) + hours
    return max(free)


def _flops(config: dict[str, Any]) -> torch.Tensor:
    """Operations of one training, of the passes through its network alone: in bfloat16, and in float32."""
    with torch.device("meta"):
        network = build_network(config["network"], tuple(config["shape"]))
    training = config["training"]
    work = training["iterations"] * training["batch"] * forward_flops(network, tuple(config["shape"]))
    found = work * torch.tensor(forwards(config), dtype=torch.float64)
    return found if training["precision"] == "bfloat16" else torch.tensor([0, found.sum()], dtype=torch.float64)


def forwards(config: dict[str, Any]) -> tuple[float, float]:
    """A training step in forward passes of the batch, of which a guided teacher takes two for each question.

    Returns:
        Those whose precision is the training's, and those in full precision.
    """
    name, options = config["loss"]["name"], config["loss"]["options"]
    found = _passes(name, tuple(sorted((key, _hashable(value)) for key, value in options.items())))
    each = FORWARDS | {"teacher": GuidedField.evaluations if "guidance" in config else 1}
    full = sum(count * each[kind] for kind, count in found.items() if kind in IN_FLOAT32)
    return sum(count * each[kind] for kind, count in found.items()) - full, full


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@cache
def _passes(name: str, options: tuple[tuple[str, Any], ...]) -> dict[str, float]:
    """The passes of a step, counted over a whole short training of a small network."""
    scene = Scene(partial(MLP, width=8, depth=2), (2,), 64, "bfloat16")
    trainer = scene.trainer(load_modules()[name](**dict(options)), "cpu", STEPS)
    for model in (trainer.student, trainer.target):
        if model is not None:
            # Which tells passes in full precision apart.
            model.__class__ = Told
            model.made = Counter()
    for _ in trainer.run():
        pass
    return passes(trainer)
