"""Sample one student at every budget and score it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from ttfm.files import read_json, write_arrays
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
from ttfm.steps.scoring import build_scorer, failed_rows, input_arguments, shown_arrays, write_metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "student", "the student's weights (safetensors)")
    path_argument(parser, "student-record", "the student's training record (JSON)")
    path_argument(parser, "teacher", "the teacher's weights (safetensors)")
    input_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write metrics and samples; a failed training gives failed rows with its reason."""
    from ttfm.evaluation.catalogue import names

    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    training = read_json(arguments.student_record)
    identity = {"student": config["student"], "loss": config["loss"], "seed": config["seed"]}
    arrays: dict[str, Any] = {}
    if training["status"] != "ok":
        failed = failed_rows(config, names(config["kind"]), config["budgets"], training["reason"])
        rows = [identity | row for row in failed]
    else:
        solution, data = tensors(arguments.solution), tensors(arguments.data)
        scorer = build_scorer(config, arguments, data, solution)
        rows = [identity | row for row in _rows(config, arguments, device, scorer, solution, arrays)]
    write_arrays(arguments.samples, arrays)
    write_metrics(arguments.metrics, config, rows, device)
    write_record(arguments.record, config, device, started)


def _rows(
    config: dict[str, Any],
    arguments: argparse.Namespace,
    device: str,
    scorer: Any,
    solution: Any,
    arrays: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    import torch

    from ttfm.evaluation import sampling, scoring
    from ttfm.evaluation.defects import semigroup_defect, tangent_defect
    from ttfm.flow.fields import LearnedField
    from ttfm.flow.flow_map import FlowMap
    from ttfm.seeds import indexed_noise

    network = load_network(arguments.student, config, device).eval().requires_grad_(False)
    flow_map, x0 = FlowMap(network), solution["x0"].to(device)
    seed, shape = config["evaluation"]["seed"], tuple(config["shape"])
    for budget in config["budgets"]:
        off_path = ""
        if config["learns"] == "any_to_any":
            path = sampling.any_to_any_path(flow_map, x0, budget)
            samples = path[-1]
            if config["kind"] == "points":
                arrays[f"path_k{budget}"] = torch.stack(path)[:, : config["evaluation"]["shown"]].cpu().numpy()
        elif config["learns"] == "to_data":
            off_path = scoring.OFF_PATH if budget > 1 else ""
            renoise = lambda i: indexed_noise(seed, len(x0), shape, "renoise", i).to(device)  # noqa: E731
            samples = sampling.consistency_sample(flow_map, x0, budget, renoise)
        else:
            samples = sampling.velocity_sample(LearnedField(network), x0, budget)
        samples = samples.cpu()
        arrays |= shown_arrays(config, budget, samples)
        for row in (*scorer.distribution(samples), *scorer.pairs(None if off_path else samples, off_path)):
            yield row | {"steps": budget}
    whole = {"N": solution["paths"].shape[1], "split": "-", "extractor": "-"}
    if config["learns"] == "any_to_any":
        times, paths = solution["times"].to(device), solution["paths"].to(device)
        yield whole | scoring.measured("semigroup_defect", semigroup_defect, flow_map, times, paths)
        field = teacher_field(config, load_network(arguments.teacher, config, device))
        yield whole | scoring.measured("tangent_defect", tangent_defect, flow_map, field, times, paths)
    else:
        reason = scoring.NOT_ANY_TO_ANY if config["learns"] == "to_data" else "a velocity has no flow map of its own"
        for name in ("semigroup_defect", "tangent_defect"):
            yield whole | {"metric": name, "status": "skipped", "reason": reason}
