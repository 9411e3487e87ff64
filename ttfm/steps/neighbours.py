"""Nearest training images of generated ones: whether a model of images has learned some by heart."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttfm.devices import pick_device
from ttfm.files import write_arrays
from ttfm.provenance import now
from ttfm.steps.common import (
    config_argument,
    log,
    path_argument,
    read_config,
    record_argument,
    write_record,
)
from ttfm.steps.scoring import write_metrics

if TYPE_CHECKING:
    import numpy as np

    from ttfm.evaluation.neighbours import Nearest
    from ttfm.evaluation.sample_sets import Set

SAMPLES = 1000
"""Images of each set that are looked up among the training images; a look-up costs as much as there are of these."""
NEIGHBOURS = 3
"""Training images that stand beside a sample in the figure."""
SHOWN = 2
"""Samples of each set that the figure shows: the first, and as many of those closest to a training image."""
EXTRACTOR = "pixels uint8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "images", "the folder that the images step wrote")
    parser.add_argument(
        "--sets",
        nargs=2,
        type=Path,
        action="append",
        required=True,
        metavar=("PIXELS", "INDEX"),
        help="generated images (npy) and what they are (JSON); may be given several times",
    )
    path_argument(parser, "metrics", "where to write the rows of the long table (CSV)")
    path_argument(parser, "shown", "where to write some samples beside their nearest training images (npz)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the descriptions asked for and the arrays of the figure; of a failed set its reason and no arrays.

    The first images of each set are looked up in the whole training split, which stays mapped; where training mirrored
    images at random, in the mirrored ones too. For each set ``<name>`` the arrays are ``samples_<name>``
    ``(n, C, H, W)`` and ``nearest_<name>`` ``(n, k, C, H, W)``, bytes, and ``distance_<name>`` ``(n, k)``: the first
    samples, then those closest to a training image. "data" are images of the test split.
    """
    from ttfm.data.arrays import read_images
    from ttfm.evaluation.neighbours import entries, nearest
    from ttfm.evaluation.quantisation import full_range
    from ttfm.evaluation.sample_sets import read_sets
    from ttfm.seeds import chosen

    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    images = read_images(arguments.images)
    train = full_range(images.splits["train"].images, images.maximum)
    unused = images.splits["test"].images
    test = full_range(unused[chosen(SAMPLES, len(unused))], images.maximum)
    mirrored = bool(config["data"].get("flips"))
    arrays: dict[str, np.ndarray] = {}

    def look_up(name: str, pixels: np.ndarray) -> Nearest:
        found = nearest(pixels, train, min(NEIGHBOURS, len(train)), mirrored, device)
        chosen = _shown(found.distance[:, 0])
        arrays[f"samples_{name}"] = pixels[chosen]
        arrays[f"nearest_{name}"] = entries(train, found.index[chosen])
        arrays[f"distance_{name}"] = found.distance[chosen]
        log.info("%s: %d images of %s looked up among %d", config["problem"], len(pixels), name, len(train))
        return found

    unseen = look_up("data", test).distance[:, 0]
    rows = _rows(config, {"student": "data", "N": len(test)}, unseen, unseen)
    for files in arguments.sets:
        samples = read_sets(*files)
        for index, entry in enumerate(samples.sets):
            if not _measured(entry, max(config["budgets"])):
                continue
            pixels = samples.images[index, :SAMPLES]
            about: dict[str, Any] = {"N": len(pixels)}
            about |= {key: entry.about[key] for key in ("student", "loss", "seed") if key in entry.about}
            if entry.failed:
                failed = {"status": "failed", "reason": entry.failed}
                rows += [about | {"metric": name} | failed for name in config["metrics"]]
            else:
                distances = look_up(about["student"], pixels).distance[:, 0]
                rows += _rows(config, about, distances, unseen)
    write_arrays(arguments.shown, arrays)
    protocol = {"split": "train", "extractor": f"{EXTRACTOR}{', mirrored too' if mirrored else ''}"}
    write_metrics(arguments.metrics, config, [protocol | row for row in rows], device)
    write_record(arguments.record, config, device, started)


def _measured(entry: Set, budget: int) -> bool:
    """Whether a set is the teacher's solution, or what comes out after the largest number of steps."""
    return not entry.snapshot and entry.about.get("steps", budget) == budget


def _shown(distances: np.ndarray) -> np.ndarray:
    """Which samples the figure shows: the first, and of the others those closest to a training image."""
    import numpy as np

    return np.concatenate([np.arange(len(distances))[:SHOWN], SHOWN + np.argsort(distances[SHOWN:])[:SHOWN]])


def _rows(
    config: dict[str, Any], about: dict[str, Any], samples: np.ndarray, unseen: np.ndarray
) -> list[dict[str, Any]]:
    """A row for each description that the experiment asks for; without a value where unseen images are too few."""
    from ttfm.evaluation.neighbours import memorisation

    try:
        found = memorisation(samples, unseen)
    except ValueError as error:
        skipped = {"status": "skipped", "reason": str(error)}
        return [about | {"metric": name} | skipped for name in config["metrics"]]
    values = {"nearest-train": found.ratio, "copied-train": found.copied}
    return [about | {"metric": name, "value": values[name]} for name in config["metrics"]]
