"""Find the weights of a network that scores images, or say why they cannot be had."""

from __future__ import annotations

import argparse

from ttfm.files import replacing, sha256
from ttfm.provenance import now
from ttfm.steps.common import config_argument, log, path_argument, read_config, write_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "weights", "where to write the weights (safetensors; no tensors where not to be had)")
    path_argument(parser, "record", "where to write what was found (JSON)")


def run(arguments: argparse.Namespace) -> None:
    """Copy the checked weights to one place that the whole experiment reads.

    Where the weights cannot be had the record says so, and what needs them is left out; a damaged file is an error.
    """
    from safetensors.torch import save_file

    from ttfm.evaluation import weights

    started = now()
    config = read_config(arguments.config)
    name = config["weights_of"]
    if name not in weights.ASSETS:
        raise ValueError(f"{name} has no weights to look for: an experiment trains it")
    asset = weights.ASSETS[name]
    status, reason, tensors, source = "ok", "", {}, {}
    try:
        path = weights.find(asset, config["assets"])
        tensors, source = weights.load(path), {"file": path.name, "sha256": sha256(path)}
    except weights.AssetUnavailable as error:
        # The message names folders of this machine: it belongs into the log, not into tables and pages.
        log.warning("%s is left out: %s", name, error)
        had = "could not be downloaded" if asset.torchvision or asset.url else "have no download"
        status, reason = (
            "skipped",
            f"the weights of {asset.name} were neither in the folder that the key assets or TTFM_ASSETS names nor in "
            f"torch hub's cache, and {had}; put {asset.files[0][0]} there and give the same command again",
        )
    with replacing(arguments.weights) as temporary:
        save_file(tensors, temporary)
    content = {"content_sha256": sha256(arguments.weights)}
    write_record(arguments.record, config, "cpu", started, status=status, reason=reason, **content, **source)
