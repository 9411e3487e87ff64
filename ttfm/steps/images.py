"""Write a problem's images as arrays of bytes, read once from wherever they are."""

from __future__ import annotations

import argparse
import shutil

from ttfm.provenance import now
from ttfm.steps.common import config_argument, log, path_argument, read_config, record_argument, write_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "out", "the folder to write the arrays and about.json into")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the splits of the set; see :func:`ttfm.data.arrays.write_images`."""
    from ttfm.data.arrays import ABOUT, write_images
    from ttfm.registry import build_reader
    from ttfm.watching import watched

    started = now()
    config = read_config(arguments.config)
    reader = build_reader(config["data"])
    # One fixed name: what a killed run left behind is cleared by the next one.
    scratch = arguments.out / ".decoding"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        found = reader.read(config["assets"], scratch)
        # Only now: a set that cannot be read again costs nobody the one that is there.
        (arguments.out / ABOUT).unlink(missing_ok=True)
        write_images(arguments.out, found.splits, reader.maximum, found.classes, reader.source)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    counts = {name: len(split.images) for name, split in found.splits.items()}
    log.info("%s: %s: %s", config["problem"], reader.source, ", ".join(f"{n} {name}" for name, n in counts.items()))
    outside = {"watched": watched(found.folder)} if found.folder else {}
    write_record(arguments.record, config, "cpu", started, counts=counts, notes=found.notes, **outside)
