"""Write a problem's reference and floor sets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ttfm.files import write_arrays
from ttfm.provenance import now
from ttfm.steps.common import (
    config_argument,
    images_argument,
    path_argument,
    read_config,
    record_argument,
    write_record,
)

if TYPE_CHECKING:
    import numpy as np


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    images_argument(parser)
    path_argument(parser, "out", "where to write the arrays reference and floor (npz), each (N, *shape)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write two independent sets of N real samples.

    Densities give two fresh draws; image sets give N of the test split (reference) and N of the training split (floor).
    """
    started = now()
    config = read_config(arguments.config)
    count, seed = config["evaluation"]["samples"], config["evaluation"]["seed"]
    if config["kind"] == "images":
        arrays = _images(arguments.images, count)
    else:
        from ttfm.registry import build_data
        from ttfm.seeds import generator

        data = build_data(config["data"])
        arrays = {name: data.sample(count, generator(seed, name)).numpy() for name in ("reference", "floor")}
    write_arrays(arguments.out, arrays)
    write_record(arguments.record, config, "cpu", started)


def _images(folder: Path | None, count: int) -> dict[str, np.ndarray]:
    """The first ``count`` images of the test and of the training split, in [-1, 1]."""
    from ttfm.data.arrays import as_floats, read_images

    if folder is None:
        raise ValueError("data: the problem's images are missing; give --images, the folder that the images step wrote")
    found = read_images(folder)
    arrays = {}
    for name, split in (("reference", "test"), ("floor", "train")):
        images = found.splits[split].images
        if len(images) < count:
            raise ValueError(
                f"evaluation.samples: {count} are asked for, and {folder} has {len(images)} {split} images; ask for "
                "fewer samples, add images, or change how the set is split"
            )
        arrays[name] = as_floats(images[:count], found.maximum)
    return arrays
