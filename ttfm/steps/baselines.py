"""Score the floor (data against data), the teacher's fine ODE and its k Euler steps."""

from __future__ import annotations

import argparse
from typing import Any

from ttfm.files import write_arrays
from ttfm.provenance import now
from ttfm.steps.common import (
    config_argument,
    load_network,
    path_argument,
    pick_device,
    read_config,
    teacher_field,
    tensors,
    write_record,
)
from ttfm.steps.scoring import build_scorer, input_arguments, shown_arrays, write_metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "teacher", "the teacher's weights (safetensors)")
    input_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the reference rows of a problem and the samples of the teacher's Euler steps."""
    from ttfm.evaluation import sampling, scoring

    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    solution, data = tensors(arguments.solution), tensors(arguments.data)
    scorer = build_scorer(config, arguments, data, solution)
    field = teacher_field(config, load_network(arguments.teacher, config, device))
    floor, fine = {"student": "data"}, {"student": "teacher", "seed": 0}
    rows: list[dict[str, Any]] = [floor | row for row in scorer.distribution(data["floor"])]
    rows += [floor | row for row in scorer.pairs(None, scoring.NOT_REPRODUCED)]
    rows += [fine | row for row in (*scorer.distribution(solution["x1"]), *scorer.pairs(solution["x1"]))]
    arrays: dict[str, Any] = {}
    for budget in config["budgets"]:
        samples = sampling.velocity_sample(field, solution["x0"].to(device), budget).cpu()
        arrays |= shown_arrays(config, budget, samples)
        euler = {"student": "teacher_euler", "seed": 0, "steps": budget}
        rows += [euler | row for row in (*scorer.distribution(samples), *scorer.pairs(samples))]
    write_arrays(arguments.samples, arrays)
    write_metrics(arguments.metrics, config, rows, device)
    write_record(arguments.record, config, device, started)
