"""Time a training step of every loss of a problem beside one of flow matching, interleaved in one process."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ttfm.devices import pick_device
from ttfm.provenance import device_name, now, source
from ttfm.steps.columns import TIMING_COLUMNS
from ttfm.steps.common import (
    build_loss,
    config_argument,
    images_argument,
    offline_arguments,
    path_argument,
    read_config,
    record_argument,
    teacher_field,
    write_csv,
    write_record,
)
from ttfm.steps.stored import load_network, load_trajectories

if TYPE_CHECKING:
    from ttfm.flow.flow_map import FlowMap
    from ttfm.training.trainer import Trainer

Passes = tuple[int, ...]
"""Samples that went through networks, by kind of pass."""

ROUNDS = 12
"""Each round times every loss once, so that a slow moment of the machine meets all of them."""
STEPS = 3
"""Training steps per loss and round."""
WARM = 2
"""Rounds that are not counted: first calls allocate and choose algorithms."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    images_argument(parser)
    path_argument(parser, "teacher", "the teacher's weights (safetensors)")
    offline_arguments(parser)
    path_argument(parser, "out", "where to write the times (CSV)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write seconds per step and their ratio to those of ``fm``.

    Each is the median over rounds; of a loss whose passes change on its way through the training, that of every kind of
    round, weighted by their numbers. Every loss trains its own copy of the teacher's network on the same batches. A
    loss whose steps cannot be timed, a term that is not finite say, gets a row that says why.
    """
    started = now()
    config = read_config(arguments.config, arguments.images)
    device = pick_device(config["device"])
    students = {"": {"loss": {"name": "fm", "options": {}}, "loss_modules": []}} | config["students"]
    runs: dict[str, Iterator[tuple[float, Passes]]] = {}
    rounds: dict[str, list[tuple[float, Passes]]] = {label: [] for label in students}
    failed: dict[str, str] = {}
    for label, student in students.items():
        try:
            runs[label] = _steps(_trainer(config, student, arguments, device), device)
        except (RuntimeError, ValueError) as error:
            failed[label] = str(error)
    for _ in range(WARM + ROUNDS):
        for label, steps in runs.items():
            if label in failed:
                continue
            try:
                rounds[label].append(next(steps))
            except (RuntimeError, ValueError) as error:
                failed[label] = str(error)
    common = {"experiment": config["experiment"], "problem": config["problem"], "repeats": ROUNDS}
    common |= {"commit": source()["commit"], "device": device_name(device)}
    rows = []
    for label, student in config["students"].items():
        row = common | {"student": label, "loss": student["loss"]["name"], "status": "ok", "reason": ""}
        # Without the yardstick there is no ratio either.
        if reason := failed.get(label) or failed.get(""):
            rows.append(row | {"status": "failed", "reason": reason})
            continue
        own, reference = rounds[label][WARM:], rounds[""][WARM:]
        ratios = [(a / b, passes) for (a, passes), (b, _) in zip(own, reference, strict=True)]
        rows.append(row | {"seconds_per_step": round(typical(own), 7), "relative": round(typical(ratios), 4)})
    write_csv(arguments.out, rows, TIMING_COLUMNS)
    write_record(arguments.record, config, device, started)


def typical(rounds: Sequence[tuple[float, Passes]]) -> float:
    """The mean over kinds of rounds of each kind's median, weighted by their numbers.

    Args:
        rounds: what was measured in each, and the passes through networks that it made: rounds of the same are alike.
    """
    kinds: dict[Passes, list[float]] = {}
    for value, passes in rounds:
        kinds.setdefault(passes, []).append(value)
    return sum(len(values) * statistics.median(values) for values in kinds.values()) / len(rounds)


def _steps(trainer: Trainer, device: str) -> Iterator[tuple[float, Passes]]:
    """Seconds per training step, measured over ``STEPS`` of them at a time, and the passes that they made."""
    import torch

    from ttfm.training.clock import seconds

    steps, where = trainer.run(), torch.device(device)
    models = [model for model in (trainer.student, trainer.target) if model is not None]
    while True:
        before, counted = seconds(where), _counted(trainer, models)
        for _ in range(STEPS):
            next(steps)
        if where.type == "cuda":
            torch.cuda.synchronize()
        took = (seconds(where) - before) / STEPS
        yield took, tuple(now - then for now, then in zip(_counted(trainer, models), counted, strict=True))


def _counted(trainer: Trainer, models: Sequence[FlowMap]) -> Passes:
    calls = [model.calls[kind] for model in models for kind in ("forward", "forward-backward", "jvp", "jvp-backward")]
    return (*calls, trainer.teacher_calls)


def _trainer(config: dict[str, Any], student: dict[str, Any], arguments: argparse.Namespace, device: str) -> Trainer:
    import torch

    from ttfm.registry import build_data, build_source
    from ttfm.training.trainer import Trainer, TrainingOptions

    torch.manual_seed(0)
    loss = build_loss(student)
    trajectories = load_trajectories(arguments, loss, device, config)
    schedules = trajectories.schedules if trajectories else None
    options = TrainingOptions(
        (WARM + ROUNDS) * STEPS + 1, config["batch"], config["lr"], probe_every=0, **config.get("training", {})
    )
    data = build_data(config["data"], arguments.images)
    return Trainer(
        loss.wrap(load_network(arguments.teacher, config, device), tuple(config["shape"]), schedules).to(device),
        loss,
        data,
        teacher_field(config, load_network(arguments.teacher, config, device)),
        options,
        seed=0,
        trajectories=trajectories,
        source=build_source(config["source"], data),
    )
