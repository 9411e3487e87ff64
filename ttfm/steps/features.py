"""What a network makes of generated images."""

from __future__ import annotations

import argparse

from ttfm.devices import pick_device
from ttfm.files import replacing, sha256, write_json
from ttfm.provenance import now
from ttfm.steps.common import config_argument, path_argument, read_config, record_argument, write_record
from ttfm.steps.network import extracted, identity, network_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    network_arguments(parser)
    path_argument(parser, "images", "the generated images (npy)")
    path_argument(parser, "index", "what they are (JSON)")
    path_argument(parser, "out", "where to write the features (npy): all layers of all sets")
    path_argument(parser, "about", "where to write which layers these are (JSON)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write features ``(sets, N, all layers)``, float32; of failed sets zeros, and nothing without the network.

    Snapshots are scored by the headline alone: for every other metric's network they are zeros too, which the file
    system need not store.
    """
    import numpy as np

    from ttfm.evaluation.extractors import EXTRACTORS
    from ttfm.evaluation.sample_sets import read_sets, row_to_fill

    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    name, reason = identity(arguments)
    samples = read_sets(arguments.images, arguments.index)
    widths: list[int] = []
    snapshots = config["headline"] == arguments.extractor
    wanted = (row for row, about in enumerate(samples.sets) if not about.failed and (snapshots or not about.snapshot))
    good = [] if reason else [*wanted]
    with replacing(arguments.out) as temporary:
        np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=(0, 0, 0))
        for row in good:
            layers, reason = extracted(samples.images[row], arguments, device)
            if reason:
                break
            parts = [layers[layer] for layer in EXTRACTORS[arguments.extractor].layers]
            if not widths:
                widths = [part.shape[1] for part in parts]
                shape = (len(samples.sets), samples.count, sum(widths))
                np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            with row_to_fill(temporary, row) as found:
                np.concatenate(parts, axis=1, out=found)
    about = {"name": name, "missing": reason, "widths": widths, "sha256": sha256(arguments.out)}
    write_json(arguments.about, about)
    status = "skipped" if reason else "ok"
    write_record(arguments.record, config, device, started, status=status, reason=reason)
