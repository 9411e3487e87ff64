"""Build every network and loss of a plan once, and write down which combinations of options are impossible."""

from __future__ import annotations

import argparse

from ttfm.files import read_json, write_json
from ttfm.steps.common import path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    path_argument(parser, "config", "what to build, as the plan step lists it (JSON)")
    path_argument(parser, "out", "where to write the faults found (JSON)")


def run(arguments: argparse.Namespace) -> None:
    """Write the message of each entry that cannot be built, by its place in the experiment."""
    from ttfm.losses import load_modules
    from ttfm.registry import impossible

    config = read_json(arguments.config)
    load_modules(tuple(config["loss_modules"]))
    write_json(arguments.out, impossible(config["parts"]))
