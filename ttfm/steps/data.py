"""Write the reference and floor sets of a problem of points."""

from __future__ import annotations

import argparse

from ttfm.files import write_arrays
from ttfm.provenance import now
from ttfm.steps.common import (
    config_argument,
    path_argument,
    read_config,
    record_argument,
    write_record,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "out", "where to write the arrays reference and floor (npz), each (N, *shape)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write two independent sets of N fresh draws of a density."""
    from ttfm.registry import build_data
    from ttfm.seeds import generator

    started = now()
    config = read_config(arguments.config)
    count, seed = config["evaluation"]["samples"], config["evaluation"]["seed"]
    data = build_data(config["data"])
    arrays = {name: data.sample(count, generator(seed, name)).numpy() for name in ("reference", "floor")}
    write_arrays(arguments.out, arrays)
    write_record(arguments.record, config, "cpu", started)
