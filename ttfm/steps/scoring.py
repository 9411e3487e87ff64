"""What the steps that score share: inputs, rows of the long table, and tables with the rows of several runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttfm.devices import pick_device
from ttfm.provenance import device_name, now, source
from ttfm.steps.columns import METRIC_COLUMNS
from ttfm.steps.common import (
    images_argument,
    labelled,
    path_argument,
    read_config,
    record_argument,
    teacher_field,
    write_csv,
    write_record,
)
from ttfm.steps.stored import load_network

if TYPE_CHECKING:
    from torch import Tensor

SCATTERED = 2048
"""How many samples of points are kept for the scatter plots."""


def input_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what both steps read."""
    images_argument(parser)
    path_argument(parser, "data", "the problem's reference and floor sets (npz)")
    path_argument(parser, "solution", "the teacher's fine ODE solution (npz)")
    path_argument(parser, "metrics", "where to write the rows of the long table (CSV)")
    path_argument(parser, "samples", "where to write the first samples at every budget (npz)")
    record_argument(parser)


def shown_arrays(config: dict[str, Any], budget: int, samples: Tensor) -> dict[str, Any]:
    """The arrays of ``samples.npz`` for one budget."""
    arrays = {f"k{budget}": samples[: config["evaluation"]["shown"]].cpu().numpy()}
    if config["kind"] == "points":
        arrays[f"all_k{budget}"] = samples[:SCATTERED].cpu().numpy()
    return arrays


def teacher_descriptions(
    config: dict[str, Any], teacher: Path, device: str, solution: dict[str, Tensor]
) -> Iterator[dict[str, Any]]:
    """What the teacher's flow is like: rows of the long table.

    Args:
        config: a resolved config.
        teacher: the teacher's weights.
        device: where to run.
        solution: the arrays of the solution step.
    """
    from ttfm.evaluation import diagnostics, scoring

    field = teacher_field(config, load_network(teacher, config, device))
    times, paths = solution["times"].to(device), solution["paths"].to(device)
    yield {"N": len(solution["x0"]), "split": "-", "extractor": "-"} | scoring.measured(
        "transport_cost", diagnostics.transport_cost, solution["x0"], solution["x1"]
    )
    whole = {"N": paths.shape[1], "split": "-", "extractor": "-"}
    yield whole | scoring.measured("straightness", diagnostics.straightness, times, paths)
    with labelled(config, paths.shape[1], device, repeated=True):
        row = scoring.measured("jacobian_asymmetry", diagnostics.jacobian_asymmetry, field, times, paths)
    yield whole | row


def failed_rows(
    config: dict[str, Any], metrics: Iterable[str], budgets: Iterable[int | None], reason: str
) -> list[dict[str, Any]]:
    """Rows that say why nothing was measured: one per metric and, where it depends on them, per step budget."""
    from ttfm.evaluation.catalogue import METRICS

    failed = {"status": "failed", "reason": reason, "N": config["evaluation"]["samples"]}
    steps = {name: budgets if METRICS[name].depends_on_steps else [None] for name in metrics}
    return [failed | {"metric": name, "steps": k} for name in steps for k in steps[name]]


PIECE = 4096
"""Generated points that pass through a model at once: few enough for a processor's cache, which halves the time."""


def histogram_row(
    config: dict[str, Any], device: str, points: int, generate: Callable[[Tensor, int], Tensor] | None
) -> dict[str, Any]:
    """The Kullback-Leibler divergence of many generated points from the density; of fresh real ones without a model.

    Args:
        config: a resolved config whose data knows its ``probabilities``.
        device: where to generate.
        points: number of points.
        generate: from noise ``(n, 2)`` and the index of its first sample to points ``(n, 2)``.
    """
    import torch

    from ttfm.evaluation.catalogue import BINS
    from ttfm.evaluation.distances import histogram_kl
    from ttfm.evaluation.scoring import measured
    from ttfm.registry import build_data
    from ttfm.seeds import generator
    from ttfm.steps.common import source_noise

    data, seed = build_data(config["data"]), config["evaluation"]["seed"]
    if generate is None:
        samples = data.sample(points, generator(seed, "histogram-floor"))
    else:
        noise = source_noise(config, seed, points, "histogram-noise")
        with torch.no_grad():
            pieces = enumerate(noise.split(PIECE))
            samples = torch.cat([generate(x0.to(device), i * PIECE).cpu() for i, x0 in pieces])
    about = {"N": points, "split": "exact", "extractor": f"histogram-{BINS}"}
    return about | measured("kl_histogram", histogram_kl, data.probabilities(BINS), samples, data.half_width)


class Tables:
    """Tables that several runs of one process write together: a path that was given once takes the rows of all."""

    def __init__(self) -> None:
        self._found: dict[Path, tuple[list[dict[str, Any]], list[str]]] = {}

    def add(self, path: Path | None, rows: Iterable[dict[str, Any]], columns: list[str]) -> None:
        """Add rows to the table at ``path``, after those that are there; nothing where it was not asked for."""
        if path:
            self._found.setdefault(path, ([], columns))[0].extend(rows)

    def write(self) -> None:
        """Write all of them."""
        for path, (rows, columns) in self._found.items():
            write_csv(path, rows, columns)


def write_together(runs: list[argparse.Namespace], run: Callable[[argparse.Namespace, Tables], None]) -> None:
    """Do every run, then write the tables of all of them, and the provenance once at every path given for it."""
    started, tables = now(), Tables()
    for arguments in runs:
        run(arguments, tables)
    tables.write()
    for path, arguments in {arguments.record: arguments for arguments in runs}.items():
        config = read_config(arguments.config, getattr(arguments, "images", None))
        write_record(path, config, pick_device(config["device"]), started)


def completed(config: dict[str, Any], rows: Iterable[dict[str, Any]], device: str) -> list[dict[str, Any]]:
    """The rows with what all of them share."""
    common = {
        "experiment": config["experiment"],
        "problem": config["problem"],
        "status": "ok",
        "commit": source()["commit"],
        "device": device_name(device),
    }
    return [common | row for row in rows]


def write_metrics(path: Path, config: dict[str, Any], rows: Iterable[dict[str, Any]], device: str) -> None:
    """Write rows of the long table."""
    write_csv(path, completed(config, rows, device), METRIC_COLUMNS)
