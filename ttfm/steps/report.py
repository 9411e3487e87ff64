"""Build the HTML page."""

from __future__ import annotations

import argparse

from ttfm.files import read_json
from ttfm.provenance import now
from ttfm.steps.common import path_argument, record_argument, write_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    path_argument(parser, "results", "the experiment's folder, its figures drawn")
    path_argument(parser, "out", "the page to write (HTML)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the page as one self-contained file."""
    from ttfm.reporting.build import write_page

    started = now()
    write_page(arguments.results, arguments.out)
    write_record(arguments.record, read_json(arguments.results / "experiment.json")["config"], "cpu", started)
