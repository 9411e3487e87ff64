"""Build the HTML page."""

from __future__ import annotations

import argparse

from ttfm.steps.common import path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    path_argument(parser, "results", "the experiment's folder, its figures drawn")
    path_argument(parser, "out", "the page to write (HTML)")


def run(arguments: argparse.Namespace) -> None:
    """Write the page as one self-contained file."""
    from ttfm.reporting.build import write_page

    write_page(arguments.results, arguments.out)
