"""Draw the figures as PNG and SVG."""

from __future__ import annotations

import argparse

from ttfm.files import read_json
from ttfm.provenance import now
from ttfm.steps.common import experiment_argument, record_argument, write_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    experiment_argument(parser)
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Read the collected tables and write everything below ``figures`` beside the experiment's JSON."""
    from ttfm.reporting.build import write_figures

    started = now()
    write_figures(arguments.config.parent)
    write_record(arguments.record, read_json(arguments.config)["config"], "cpu", started)
