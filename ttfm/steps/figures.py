"""Draw the figures as PNG and SVG."""

from __future__ import annotations

import argparse

from ttfm.steps.common import path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    path_argument(parser, "results", "the experiment's folder")


def run(arguments: argparse.Namespace) -> None:
    """Read the collected tables and write everything below ``<results>/figures``."""
    from ttfm.reporting.build import write_figures

    write_figures(arguments.results)
