"""Write the summary tables as CSV, Markdown and LaTeX."""

from __future__ import annotations

import argparse

from ttfm.files import read_json
from ttfm.provenance import now
from ttfm.steps.common import path_argument, record_argument, write_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    path_argument(parser, "results", "the experiment's folder")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Read the collected tables and write everything below ``<results>/tables``."""
    from ttfm.reporting.build import write_tables

    started = now()
    write_tables(arguments.results)
    write_record(arguments.record, read_json(arguments.results / "experiment.json")["config"], "cpu", started)
