"""Score generated images: reads files of images, features and references, and writes rows of the long table."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttfm.devices import pick_device
from ttfm.files import map_array, read_arrays, read_json, require_content
from ttfm.steps.columns import METRIC_COLUMNS, SNAPSHOT_COLUMNS
from ttfm.steps.common import (
    config_argument,
    path_argument,
    read_config,
    record_argument,
)
from ttfm.steps.decoding import image_shape
from ttfm.steps.scoring import Tables, completed, write_together

if TYPE_CHECKING:
    import numpy as np

    from ttfm.evaluation.image_scoring import Network, Reference


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "pixels", "the generated images (npy)")
    path_argument(parser, "index", "what they are (JSON)")
    path_argument(parser, "solution", "the teacher's fine ODE solution (npz)")
    path_argument(parser, "described", "rows on the flow, to which those of the images are added (CSV)")
    path_argument(
        parser, "features", "folder of the images' features: <network>.npy and what they are, <network>.json", False
    )
    path_argument(
        parser, "reference", "folder of the real images': <network>.npz and its record, <network>.json", False
    )
    path_argument(
        parser, "weights", "folder of the trunks of LPIPS: lpips-<trunk>.safetensors and its record, .json", False
    )
    parser.add_argument("--floor", action="store_true", help="score real images against real ones as well")
    path_argument(parser, "metrics", "where to write the rows of the long table (CSV)")
    path_argument(parser, "snapshot-metrics", "where to write the scores of the snapshots (CSV)", required=False)
    record_argument(parser)


def run_all(runs: list[argparse.Namespace]) -> None:
    """Write every metric of every set; what is missing or failed says why."""
    write_together(runs, _run)


def _run(arguments: argparse.Namespace, tables: Tables) -> None:
    import numpy as np

    from ttfm.evaluation.image_scoring import ImageScorer
    from ttfm.evaluation.perceptual import load_lpips
    from ttfm.evaluation.sample_sets import read_sets

    config = read_config(arguments.config)
    device = pick_device(config["device"])
    samples = read_sets(arguments.pixels, arguments.index)
    perceptual: dict[str, Any] = {}
    for trunk in config["trunks"]:
        weights = _folder(arguments.weights, "weights", f"lpips-{trunk}") / f"lpips-{trunk}.safetensors"
        found = read_json(weights.with_suffix(".json"))
        if found["status"] == "ok":
            require_content(weights, found["content_sha256"], "weights")
        perceptual[trunk] = load_lpips(weights, trunk).to(device) if found["status"] == "ok" else found["reason"]
    solution = map_array(arguments.solution, "pixels", arguments.metrics.parent)
    metrics = config["evaluation"]["metrics"]
    headline = config["headline"]
    scorer = ImageScorer(
        # The headline first: it alone is measured on snapshots.
        (headline, *(name for name in metrics if name != headline)),
        {name: _network(name, arguments) for name in config["networks"]},
        perceptual,
        np.zeros((0, *image_shape(config)), dtype=np.uint8) if solution is None else solution,
        device,
    )
    rows = [*scorer.rows(samples)]
    times = ("iteration", "trained_seconds", "average")
    timed = [row for row in rows if row["metric"] == headline and any(key in row for key in times)]
    kept = [row for row in rows if not row.pop("snapshot")]
    if arguments.floor:
        # Of latents the autoencoder has a floor of its own.
        reconstructed = scorer.floor(samples.count, "autoencoder") if "latent" in config else ()
        kept = [*scorer.floor(samples.count), *reconstructed, *kept]
    with arguments.described.open(newline="", encoding="utf-8") as file:
        described = list(csv.DictReader(file))
    plain = [{key: value for key, value in row.items() if key not in times} for row in (*kept, *described)]
    tables.add(arguments.metrics, completed(config, plain, device), METRIC_COLUMNS)
    tables.add(arguments.snapshot_metrics, completed(config, timed, device), SNAPSHOT_COLUMNS)


def _folder(path: Path | None, argument: str, what: str) -> Path:
    if path is None:
        raise ValueError(f"the metrics need {what}; give --{argument}")
    return path


def _network(name: str, arguments: argparse.Namespace) -> Network:
    """A network's files as the scorer wants them.

    Raises:
        DamagedResult: naming the file with both digests, if the features are damaged.
    """
    import numpy as np

    from ttfm.evaluation.image_scoring import Network

    features = _folder(arguments.features, "features", name) / f"{name}.npy"
    reference = _folder(arguments.reference, "reference", name) / f"{name}.npz"
    found, origin = read_json(features.with_suffix(".json")), read_json(reference.with_suffix(".json"))
    require_content(features, found["sha256"], "features")
    if missing := found["missing"] or origin["reason"]:
        return Network(found["name"], missing=missing)
    arrays = read_arrays(reference)
    parts = origin["splits"].items()
    real = {part: _reference(arrays, part, split) for part, split in parts if f"{part}_mu" in arrays}
    values = np.load(features, mmap_mode="r", allow_pickle=False)
    width = found["widths"][0] if found["widths"] else 0
    logits = values[:, :, width:] if len(found["widths"]) > 1 else None
    return Network(
        found["name"],
        real["reference"],
        real.get("floor"),
        values[:, :, :width],
        logits,
        reconstructed=real.get("reconstructed"),
    )


def _reference(arrays: dict[str, np.ndarray], part: str, split: str) -> Reference:
    from ttfm.evaluation.image_scoring import Reference
    from ttfm.evaluation.scores import Statistics

    statistics = Statistics(arrays[f"{part}_mu"], arrays[f"{part}_sigma"], int(arrays[f"{part}_count"]))
    return Reference(statistics, arrays[f"{part}_features"], split, arrays.get(f"{part}_logits"))
