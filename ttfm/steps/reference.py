"""What a network makes of a problem's real images: statistics of the reference split, and of the other as a floor."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttfm.devices import pick_device
from ttfm.files import read_arrays, sha256, write_arrays
from ttfm.provenance import now
from ttfm.steps.common import (
    config_argument,
    images_argument,
    log,
    path_argument,
    read_config,
    record_argument,
    write_record,
)
from ttfm.steps.network import extracted, identity, network_arguments

if TYPE_CHECKING:
    import numpy as np

KEPT = 10_000
"""Images whose features are kept beside the statistics of all, for scores that compare sets of features."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    images_argument(parser)
    path_argument(
        parser, "latents", "the folder that the latents step wrote, of a problem that has them", required=False
    )
    network_arguments(parser)
    path_argument(parser, "out", "where to write statistics and features (npz)")
    path_argument(parser, "cache", "folder of references of all experiments, by content", required=False)
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write mean, covariance, number and first features of two splits; nothing where the network cannot be had.

    The reference is a whole split, the floor as many images of the other as are generated, or all there are. Of a
    problem in latent space there are as many test images besides, encoded and decoded again. A file of the same content
    that another experiment made is copied: its name is a digest of all that decides it.
    """
    import numpy as np

    from ttfm.data.arrays import read_images
    from ttfm.data.latents import RECONSTRUCTED, checked
    from ttfm.evaluation.quantisation import full_range

    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    name, reason = identity(arguments)
    images = read_images(arguments.images)
    split = config["evaluation"]["reference"]
    splits = {"reference": split, "floor": "test" if split == "train" else "train"}
    limits = {"reference": None, "floor": config["evaluation"]["samples"]}
    about: dict[str, Any] = {
        "extractor": name,
        "maximum": images.maximum,
        "kept": KEPT,
        "sets": {part: [limits[part], images.about["splits"][splits[part]]["sha256"]] for part in splits},
        "device": device,
        "versions": {package: version(package) for package in ("torch", "torch-fidelity")},
    }
    if arguments.latents:
        made = checked(arguments.latents, RECONSTRUCTED)
        about["sets"]["reconstructed"] = [limits["floor"], sha256(made)]
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    stored: Path | None = arguments.cache and arguments.cache / f"{key}.npz"
    if reason:
        arrays: dict[str, np.ndarray] = {}
    elif stored and _sound(stored):
        log.info("%s: the same content is in %s", name, stored)
        arrays = read_arrays(stored)
    else:
        sets = {part: full_range(images.splits[splits[part]].images[: limits[part]], images.maximum) for part in splits}
        if arguments.latents:
            sets["reconstructed"] = np.load(made, mmap_mode="r", allow_pickle=False)[: limits["floor"]]
        arrays, reason = _arrays(sets, arguments, device)
        if stored and not reason:
            write_arrays(stored, arrays)
    write_arrays(arguments.out, arrays)
    if arguments.latents:
        splits["reconstructed"] = "test"
    status = "skipped" if reason else "ok"
    write_record(
        arguments.record, config, device, started, status=status, reason=reason, name=name, splits=splits, content=about
    )


def _sound(path: Path) -> bool:
    """Whether a cached file is there and whole; a damaged one is made again."""
    try:
        read_arrays(path)
    except FileNotFoundError:
        return False
    except ValueError as error:
        log.warning("%s; it is made again", error)
        shutil.move(path, path.with_suffix(".damaged"))
        return False
    return True


def _arrays(
    sets: dict[str, np.ndarray], arguments: argparse.Namespace, device: str
) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of every set of images, bytes ``(N, C, H, W)``, or none and why."""
    import numpy as np

    from ttfm.evaluation.extractors import EXTRACTORS
    from ttfm.evaluation.scores import statistics

    layers = EXTRACTORS[arguments.extractor].layers
    found: dict[str, np.ndarray] = {}
    for part, pixels in sets.items():
        features, reason = extracted(pixels, arguments, device)
        if reason:
            return {}, reason
        fitted = statistics(features[layers[0]])
        found |= {f"{part}_mu": fitted.mu, f"{part}_sigma": fitted.sigma, f"{part}_count": np.array(fitted.count)}
        found |= {f"{part}_features": features[layers[0]][:KEPT]}
        if len(layers) > 1:
            found[f"{part}_logits"] = features[layers[1]][:KEPT]
    return found, ""
