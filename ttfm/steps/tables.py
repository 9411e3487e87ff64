"""Write the summary tables as CSV, Markdown and LaTeX."""

from __future__ import annotations

import argparse

from ttfm.steps.common import path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    path_argument(parser, "results", "the experiment's folder")


def run(arguments: argparse.Namespace) -> None:
    """Read the collected tables and write everything below ``<results>/tables``."""
    from ttfm.reporting.build import write_tables

    write_tables(arguments.results)
