"""Build the HTML page."""

from __future__ import annotations

import argparse

from ttfm.files import read_json
from ttfm.provenance import now
from ttfm.steps.common import experiment_argument, path_argument, record_argument, write_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    experiment_argument(parser)
    path_argument(parser, "out", "the page to write (HTML)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the page as one self-contained file."""
    from ttfm.reporting.build import write_page

    started = now()
    write_page(arguments.config.parent, arguments.out)
    write_record(arguments.record, read_json(arguments.config)["config"], "cpu", started)
