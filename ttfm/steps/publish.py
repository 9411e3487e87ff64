"""Copy an experiment's small tables and figures, with their provenance, to where they are kept."""

from __future__ import annotations

import argparse
import csv
import shutil
from collections.abc import Collection
from pathlib import Path

from ttfm.files import read_json, replacing, write_json
from ttfm.steps.common import log, path_argument

KEPT = (
    "metrics.csv",
    "costs.csv",
    "tables/summary.csv",
    "tables/headline.csv",
    "tables/headline.md",
    "tables/headline.tex",
    "tables/cost.csv",
    "tables/cost.md",
    "tables/methods.csv",
    "tables/methods.md",
    "tables/ranks.csv",
    "tables/ranks.md",
)
CURVES = "curves.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    path_argument(parser, "results", "the experiment's folder")
    path_argument(parser, "out", "the folder to keep, for example results/published/<experiment>")
    parser.add_argument(
        "--figure", action="append", default=[], metavar="NAME", help="a figure to keep, without its ending"
    )


def run(arguments: argparse.Namespace) -> None:
    """Copy the files and write ``provenance.json``.

    Of every problem the tables of its headline and of all metrics that it asked for are kept, and of problems of images
    the training curves, which show whether students that nobody trains again were trained to the end.

    Raises:
        ValueError: if a run stems from uncommitted changes or from outside a git checkout: such numbers cannot be
            traced to a state of the code, and are not published. Several commits are named in the provenance, and each
            row of ``metrics.csv`` names its own.
    """
    from ttfm.reporting.inputs import load
    from ttfm.reporting.provenance import provenance

    found = provenance(load(arguments.results))
    if found["dirty"] or not found["commits"] or "unknown" in found["commits"]:
        raise ValueError(f"{arguments.results}: some runs stem from no committed state; commit and run them again")
    problems = found["config"]["problems"]
    cards = read_json(arguments.results / "experiment.json")["problems"]
    tables = [
        f"tables/{name}--{metric}.md"
        for name, about in problems.items()
        for metric in dict.fromkeys([about["evaluation"]["headline"], *(about["evaluation"].get("metrics") or [])])
    ]
    convergence = ["tables/convergence.csv"] if any(about["snapshots"] for about in cards.values()) else []
    beside = [f"tables/{name}--published.md" for name, about in problems.items() if about.get("published")]
    beside += [f"tables/{name}--averages.md" for name, about in cards.items() if about.get("averages")]
    for name in (*KEPT, *convergence, *tables, *beside, *(f"figures/{figure}.png" for figure in arguments.figure)):
        source: Path = arguments.results / name
        with replacing(arguments.out / source.name) as temporary:
            shutil.copyfile(source, temporary)
    if images := [name for name, about in cards.items() if about["kind"] == "images"]:
        _copy_curves(arguments.results / CURVES, arguments.out / CURVES, images)
    write_json(arguments.out / "provenance.json", found)
    log.info("kept in %s", arguments.out)


def _copy_curves(source: Path, target: Path, problems: Collection[str]) -> None:
    """The rows of these problems: those of points are many, and quickly made again."""
    with source.open(newline="", encoding="utf-8") as file, replacing(target) as temporary:
        rows = csv.DictReader(file)
        with temporary.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, rows.fieldnames or [], lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for row in rows if row["problem"] in problems)
