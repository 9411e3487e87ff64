"""Score the floor (data against data), the teacher's fine ODE and its k Euler steps, of points."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ttfm.devices import pick_device
from ttfm.files import write_arrays
from ttfm.provenance import now
from ttfm.steps.common import config_argument, failure, path_argument, read_config, teacher_field, write_record
from ttfm.steps.scoring import (
    failed_rows,
    histogram_row,
    input_arguments,
    shown_arrays,
    teacher_descriptions,
    write_metrics,
)
from ttfm.steps.stored import load_network, tensors

if TYPE_CHECKING:
    from torch import Tensor

    from ttfm.evaluation.scoring import Scorer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "teacher", "the teacher's weights (safetensors)")
    path_argument(parser, "solution-record", "the record of the teacher's fine ODE solution (JSON)")
    input_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the reference rows of a problem and the samples of the teacher's Euler steps."""
    from ttfm.evaluation import scoring
    from ttfm.evaluation.catalogue import METRICS

    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    solution, data = tensors(arguments.solution), tensors(arguments.data)
    reason = failure(arguments.solution_record)
    # Without a solution only the floor is scored, which asks for no more than the number of samples.
    scorer = scoring.Scorer(data["reference"], data["floor"] if reason else solution["x1"])
    floor = [*scorer.distribution(data["floor"]), *scorer.pairs(None, scoring.NOT_REPRODUCED)]
    if (points := config["evaluation"]["histogram_samples"]) > 0:
        floor.append(histogram_row(config, device, points, None))
    arrays: dict[str, Any] = {}
    if reason:
        sampled = [row["metric"] for row in floor]
        described = [name for name, metric in METRICS.items() if not (metric.ranked or metric.optional)]
        fine = failed_rows(config, [*sampled, *described], [None], reason)
        euler = failed_rows(config, sampled, config["budgets"], reason)
    else:
        fine = [*scorer.distribution(solution["x1"]), *scorer.pairs(solution["x1"])]
        fine += teacher_descriptions(config, arguments.teacher, device, solution)
        euler = list(_euler(config, arguments, device, scorer, solution["x0"], arrays))
    rows: list[dict[str, Any]] = [{"student": "data"} | row for row in floor]
    rows += [{"student": "teacher", "seed": 0} | row for row in fine]
    rows += [{"student": "teacher_euler", "seed": 0} | row for row in euler]
    write_arrays(arguments.samples, arrays)
    write_metrics(arguments.metrics, config, rows, device)
    write_record(arguments.record, config, device, started)


def _euler(
    config: dict[str, Any],
    arguments: argparse.Namespace,
    device: str,
    scorer: Scorer,
    x0: Tensor,
    arrays: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """Rows of the teacher's k Euler steps; the samples to show go into ``arrays``."""
    from ttfm.evaluation import sampling

    field = teacher_field(config, load_network(arguments.teacher, config, device))
    for budget in config["budgets"]:
        samples = sampling.velocity_sample(field, x0.to(device), budget).cpu()
        arrays |= shown_arrays(config, budget, samples)
        for row in (*scorer.distribution(samples), *scorer.pairs(samples)):
            yield row | {"steps": budget}
        if (points := config["evaluation"]["histogram_samples"]) > 0:
            generate = lambda noise, first, k=budget: sampling.velocity_sample(field, noise, k)  # noqa: E731
            yield histogram_row(config, device, points, generate) | {"steps": budget}
