"""Write a problem's reference and floor sets."""

from __future__ import annotations

import argparse

from ttfm.files import write_arrays
from ttfm.provenance import now
from ttfm.steps.common import config_argument, path_argument, read_config, record_argument, write_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "out", "where to write the arrays reference and floor (npz), each (N, *shape)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write two independent sets of N real samples.

    Densities give two fresh draws; image sets give N of the test split (reference) and N of the training split (floor).
    """
    from ttfm.data import digits
    from ttfm.registry import build_data
    from ttfm.seeds import generator

    started = now()
    config = read_config(arguments.config)
    count, seed = config["evaluation"]["samples"], config["evaluation"]["seed"]
    if config["kind"] == "images":
        reference, floor = (digits.load(split)[0][:count] for split in ("test", "train"))
    else:
        data = build_data(config["data"])
        reference, floor = (data.sample(count, generator(seed, stream)) for stream in ("reference", "floor"))
    write_arrays(arguments.out, {"reference": reference.numpy(), "floor": floor.numpy()})
    write_record(arguments.record, config, "cpu", started)
