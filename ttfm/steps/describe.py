"""Write what experiments can name as JSON."""

from __future__ import annotations

import argparse

from ttfm.files import write_json
from ttfm.steps.common import path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    path_argument(parser, "out", "where to write the description (JSON)")
    parser.add_argument(
        "--loss-module", action="append", default=[], metavar="PATH", help="a Python file with further losses"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the registry's description."""
    from ttfm.registry import describe

    write_json(arguments.out, describe(tuple(arguments.loss_module)))
