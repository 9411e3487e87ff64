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
from ttfm.files import Spool, read_arrays, sha256, write_arrays
from ttfm.pieces import at_once
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
FEWEST = 2
"""Images of which there are statistics."""


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
    """Write mean, covariance, number and some features of two splits; nothing where the network cannot be had.

    The reference is a whole split, the floor as many images of the other as are generated, or all there are; it is left
    out where there are too few for any statistics. Of a problem in latent space there are as many test images besides,
    encoded and decoded again. A file of the same content that another experiment made is copied: its name is a digest
    of all that decides it, code included.
    """
    import numpy as np

    from ttfm.data.arrays import read_images
    from ttfm.data.latents import RECONSTRUCTED, checked
    from ttfm.evaluation.quantisation import full_range
    from ttfm.seeds import chosen

    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    name, reason = identity(arguments)
    images = read_images(arguments.images)
    split = config["evaluation"]["reference"]
    splits = {"reference": split, "floor": "test" if split == "train" else "train"}
    _require(config, arguments.extractor, split, len(images.splits[split].images))
    limits = {"reference": None, "floor": config["evaluation"]["samples"]}
    about: dict[str, Any] = {
        "extractor": name,
        "maximum": images.maximum,
        "kept": KEPT,
        "sets": {part: [limits[part], images.about["splits"][splits[part]]["sha256"]] for part in splits},
        "code": [sha256(path) for path in _code()],
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
        sets = {}
        for part, split in splits.items():
            pixels = images.splits[split].images
            limit = limits[part]
            taken = pixels if limit is None else _taken(pixels, chosen(limit, len(pixels)), arguments.out.parent)
            sets[part] = full_range(taken, images.maximum)
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


def _taken(images: np.ndarray, index: np.ndarray, folder: Path) -> np.ndarray:
    """The images of ``index``; they may be thousands of large ones, and are put together on disk."""
    size = at_once(images.shape[1:], len(index))
    with Spool(folder) as spool:
        for start in range(0, len(index), size):
            spool.add(images[index[start : start + size]])
        return spool.array(images.dtype, (len(index), *images.shape[1:]))


def _require(config: dict[str, Any], network: str, split: str, count: int) -> None:
    """Raise a ValueError if the reference split has fewer images than a metric of this network needs."""
    for metric, least in config["least"].get(network, {}).items():
        if count < least:
            data = config["data"]
            raise ValueError(
                f"problems.{config['problem']}: the {split} split of {data.get('path', data['name'])!r} has {count:,}"
                f" images, and {metric!r} needs at least {least:,}; add images, or leave the metric out of"
                " evaluation.metrics"
            )


def _code() -> list[Path]:
    """The source files that decide features and statistics."""
    package = Path(__file__).parents[1]
    named = [package / "evaluation" / f"{name}.py" for name in ("features", "quantisation", "scores", "classifier")]
    return [*named, package / "seeds.py", Path(__file__), *sorted((package / "evaluation" / "extractors").glob("*.py"))]


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
    from ttfm.seeds import chosen

    layers = EXTRACTORS[arguments.extractor].layers
    found: dict[str, np.ndarray] = {}
    for part, pixels in sets.items():
        if part == "floor" and len(pixels) < FEWEST:
            log.warning("the floor is left out: the other split has %d image", len(pixels))
            continue
        features, reason = extracted(pixels, arguments, device)
        if reason:
            return {}, reason
        fitted = statistics(features[layers[0]])
        found |= {f"{part}_mu": fitted.mu, f"{part}_sigma": fitted.sigma, f"{part}_count": np.array(fitted.count)}
        kept = chosen(KEPT, len(pixels))
        found |= {f"{part}_features": features[layers[0]][kept]}
        if len(layers) > 1:
            found[f"{part}_logits"] = features[layers[1]][kept]
    return found, ""
