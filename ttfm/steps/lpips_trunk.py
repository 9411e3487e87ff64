"""Find the trunk of LPIPS, or say why it cannot be had."""

from __future__ import annotations

import argparse

from ttfm.files import replacing, sha256
from ttfm.provenance import now
from ttfm.steps.common import config_argument, log, path_argument, read_config, write_record

UNAVAILABLE = (
    "the weights of SqueezeNet 1.1, the trunk of LPIPS, were neither in the folder that the key assets or TTFM_ASSETS "
    "names nor in torch hub's cache, and could not be downloaded; put them there and run snakemake with --forcerun "
    "lpips_trunk"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "weights", "where to write the trunk's weights (safetensors; no tensors where not to be had)")
    path_argument(parser, "record", "where to write what was found (JSON)")


def run(arguments: argparse.Namespace) -> None:
    """Copy the checked weights to one place that the whole experiment reads.

    Where the weights cannot be had the record says so, and LPIPS is left out; a damaged file is an error.
    """
    from safetensors.torch import save_file

    from ttfm.evaluation import weights

    started = now()
    config = read_config(arguments.config)
    status, reason, tensors, source = "ok", "", {}, {}
    try:
        path = weights.find(weights.SQUEEZENET, config["assets"])
        tensors, source = weights.load(path), {"file": path.name, "sha256": sha256(path)}
    except weights.AssetUnavailable as error:
        # The message names folders of this machine: it belongs into the log, not into tables and pages.
        log.warning("LPIPS is left out: %s", error)
        status, reason = "skipped", UNAVAILABLE
    with replacing(arguments.weights) as temporary:
        save_file(tensors, temporary)
    write_record(arguments.record, config, "cpu", started, status=status, reason=reason, **source)
