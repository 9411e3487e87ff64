"""Images of the teacher: its fine ODE and its k Euler steps, and what its flow is like."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttfm.devices import pick_device
from ttfm.files import map_array, write_arrays
from ttfm.provenance import now
from ttfm.steps.common import (
    failure,
    labelled,
    path_argument,
    piece_size,
    read_config,
    source_noise,
    teacher_field,
    write_record,
)
from ttfm.steps.decoding import decoder, image_shape
from ttfm.steps.sample import set_arguments
from ttfm.steps.scoring import failed_rows, teacher_descriptions, write_metrics
from ttfm.steps.stored import load_network, tensors
from ttfm.steps.trained import FLOATS

if TYPE_CHECKING:
    import torch

    from ttfm.evaluation.sample_sets import Piece, Set
    from ttfm.flow.solvers import Field


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    path_argument(parser, "teacher", "the teacher's weights (safetensors)")
    path_argument(parser, "solution-record", "the record of the teacher's fine ODE solution (JSON)")
    set_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write images, their index, the first samples of the Euler steps and rows on the teacher's flow."""
    from ttfm.evaluation.catalogue import METRICS
    from ttfm.evaluation.sample_sets import Set, pieces_of, write_sets

    started = now()
    config = read_config(arguments.config, arguments.images)
    device = pick_device(config["device"])
    reason = failure(arguments.solution_record)
    fine = {"student": "teacher", "seed": 0}
    euler = [{"student": "teacher_euler", "seed": 0, "steps": budget} for budget in config["budgets"]]
    arrays: dict[str, torch.Tensor] = {}
    decode = decoder(config, arguments.images, device)
    sets: list[tuple[Set, Piece | None]]
    if reason:
        sets = [(Set(about, reason), None) for about in (fine, *euler)]
        scale = 1.0
        described = [name for name, metric in METRICS.items() if not (metric.ranked or metric.optional)]
        rows = failed_rows(config, described, [None], reason)
    else:
        solution = tensors(arguments.solution, FLOATS)
        pixels = map_array(arguments.solution, "pixels", arguments.pixels.parent)
        assert pixels is not None
        field = teacher_field(config, load_network(arguments.teacher, config, device))
        scale = solution["x1"].double().square().mean().item()
        sets = [(Set(fine, exact=True), pieces_of(pixels))]
        sets += [
            (Set(about), _euler(config, arguments.images, field, device, budget, arrays))
            for about, budget in zip(euler, config["budgets"], strict=True)
        ]
        rows = list(teacher_descriptions(config, arguments.teacher, device, solution))
    shape = (config["evaluation"]["samples"], *image_shape(config))
    write_sets(arguments.pixels, arguments.index, sets, shape, piece_size(config["shape"]), scale, decode)
    write_arrays(arguments.samples, {name: decode(samples).numpy() for name, samples in arrays.items()})
    write_metrics(arguments.described, config, [fine | row for row in rows], device)
    write_record(arguments.record, config, device, started)


def _euler(
    config: dict[str, Any], images: Path | None, field: Field, device: str, budget: int, arrays: dict[str, torch.Tensor]
) -> Piece:
    """``budget`` Euler steps; the first samples go into ``arrays``."""
    import torch

    from ttfm.evaluation import sampling

    evaluation = config["evaluation"]
    shown = evaluation["shown"]

    def make(start: int, end: int) -> torch.Tensor:
        x0 = source_noise(config, evaluation["seed"], end, "evaluation-noise", images=images, start=start)
        with labelled(config, end - start, device, start):
            samples = sampling.velocity_sample(field, x0.to(device), budget).cpu()
        if start < shown:
            before = [arrays[f"k{budget}"]] if start else []
            arrays[f"k{budget}"] = torch.cat([*before, samples[: shown - start]])
        return samples

    return make
