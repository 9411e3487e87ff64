"""What the reference and the features step share: one network, and why it is left out where it is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ttfm.files import read_json, require_content
from ttfm.steps.common import log, path_argument

if TYPE_CHECKING:
    import numpy as np

CODE_MISSING = (
    "the code of the network is neither in torch hub's cache nor to be downloaded; run once where there is a "
    "connection, or leave the metric out"
)


def network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the network, its weights and what was found of them."""
    parser.add_argument("--extractor", required=True, metavar="NAME", help="name of the network of features")
    path_argument(parser, "weights", "its weights (safetensors)")
    path_argument(parser, "weights-record", "the record of its weights (JSON)")


def identity(arguments: argparse.Namespace) -> tuple[str, str]:
    """What tables call the network, with the beginning of its weights' sha256, and why it is left out, if it is.

    Raises:
        ttfm.files.DamagedResult: if the weights are not those that were written.
    """
    record = read_json(arguments.weights_record)
    if record["status"] == "skipped":
        return arguments.extractor, record["reason"]
    require_content(arguments.weights, record["content_sha256"], "weights")
    # A network that the experiment trains has no record of a file that was found.
    digest = record.get("sha256") or record["content_sha256"]
    return f"{arguments.extractor} {digest[:8]}", ""


def extracted(images: np.ndarray, arguments: argparse.Namespace, device: str) -> tuple[dict[str, np.ndarray], str]:
    """Features by layer, or none and why the network cannot be had."""
    from ttfm.evaluation.features import extract
    from ttfm.evaluation.weights import AssetUnavailable

    try:
        return extract(images, arguments.extractor, Path(arguments.weights), device), ""
    except AssetUnavailable as error:
        log.warning("%s is left out: %s", arguments.extractor, error)
        return {}, CODE_MISSING
