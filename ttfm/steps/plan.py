"""Check an experiment and write the resolved configuration of every run."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from ttfm.planning import plan
from ttfm.steps.common import log, path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    path_argument(parser, "experiment", "the experiment's YAML file")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="PATH", help="folder of all results")


def run(arguments: argparse.Namespace) -> None:
    """Write ``<results>/<name>/experiment.json`` and everything below ``<results>/<name>/plan``."""
    try:
        config = yaml.safe_load(arguments.experiment.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{arguments.experiment}: not valid YAML: {error}") from None
    resolved = plan(config, str(arguments.experiment), arguments.results)
    log.info("%s: %d runs planned", resolved.experiment["name"], len(resolved.runs))
