"""Which figures an experiment has, by name: needed when a workflow is planned, so nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VECTOR = ("quality", "training", "cost")
"""Families that the page shows as SVG (few marks, sharp at any size); the others hold thousands of marks."""

FAMILIES = {
    "points": ("quality", "training", "samples", "trajectories"),
    "images": ("quality", "training", "grid"),
}


def figure_names(problems: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Stems of all figures of an experiment, in display order; files are ``figures/<stem>.png`` and ``.svg``.

    Args:
        problems: ``problems`` of ``experiment.json``; only each problem's ``kind`` is read.

    Raises:
        ValueError: naming the problem, if its ``kind`` is neither "points" nor "images".
    """
    stems = []
    for name, problem in problems.items():
        kind = problem.get("kind")
        if kind not in FAMILIES:
            raise ValueError(f"problem {name!r} is of kind {kind!r}; reporting knows {', '.join(FAMILIES)}")
        stems += [f"{name}--{family}" for family in FAMILIES[kind]]
    return [*stems, "cost"]
