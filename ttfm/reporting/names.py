"""Which tables and figures an experiment has, by name: needed when a workflow is planned, so nothing heavy is imported
here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ttfm.evaluation.catalogue import METRICS
from ttfm.evaluation.catalogue import names as metric_names

VECTOR = ("frechet-lpips", "quality", "families", "training", "convergence", "cost")
"""Families that the page shows as SVG (few marks, sharp at any size); the others hold thousands of marks."""

FAMILIES = {
    "points": ("quality", "training", "samples", "trajectories"),
    "images": ("quality", "training", "grid"),
}
_ASKED = (("neighbours", "neighbours"), ("convergence", "snapshots"), ("defects", "maps"))
"""Families that need measurements of their own, which only some experiments ask for, and the key that says so."""
MANY = 10
"""The most students that one chart tells apart. Where there are more, charts draw ``SHOWN`` in colour and the rest in
grey, sample figures show these alone, and a figure ``<problem>--families`` has a panel for each family of losses."""
SHOWN = 8
"""How many students stand out where there are more than ``MANY``: the baseline and the lowest mean ranks."""

PAGE_ALONE = ("page", "alt", "verdict", "yardstick")
"""Modules of reporting that write the page and nothing else."""
PICTURES = ("figures", "palette")
"""Those that draw, and write no table."""

_PRINTED = ("methods", "headline", "ranks", "cost")


def _families(name: str, problem: Mapping[str, Any], students: Collection[str]) -> list[str]:
    kind = problem.get("kind")
    if kind not in FAMILIES:
        raise ValueError(f"problem {name!r} is of kind {kind!r}; reporting knows {', '.join(FAMILIES)}")
    first, *others = FAMILIES[kind]
    families = [first, *(["families"] if len(students) > MANY else []), *others]
    families = ["frechet-lpips"] * bool(frechet_and_lpips(problem)) + families
    return families + [family for family, key in _ASKED if problem.get(key)]


def frechet_and_lpips(problem: Mapping[str, Any]) -> tuple[str, str] | None:
    """The Fréchet distance and the LPIPS of a problem, by which papers compare; None where it does not ask for both.

    Args:
        problem: an entry of ``problems`` of ``experiment.json``. Of several distances its headline is taken, or the
            first.
    """
    asked = [name for name in (problem.get("headline"), *problem.get("metrics", ())) if name in METRICS]
    frechet = [name for name in asked if METRICS[name].score == "frechet"]
    lpips = [name for name in asked if name.startswith("lpips-")]
    return (frechet[0], lpips[0]) if frechet and lpips else None


def figure_names(problems: Mapping[str, Mapping[str, Any]], students: Collection[str] = ()) -> list[str]:
    """Stems of all figures of an experiment, in display order; files are ``figures/<stem>.png`` and ``.svg``.

    Args:
        problems: ``problems`` of ``experiment.json``; of each only ``kind``, ``headline``, ``metrics`` and the keys of
            measurements that it may ask for are read.
        students: ``students`` of ``experiment.json``; only their number is read.

    Raises:
        ValueError: naming the problem, if its ``kind`` is neither "points" nor "images".
    """
    stems = [f"{name}--{family}" for name, problem in problems.items() for family in _families(name, problem, students)]
    return [*stems, "cost"]


def table_files(problems: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of all files under ``tables/`` of an experiment.

    Args:
        problems: ``problems`` of ``experiment.json``; of each only ``metrics``, ``published`` and ``averages`` are
            read, and ``kind`` where there are no metrics. A metric that neither names (from a plug-in) gets a table
            too, which no workflow can declare.
    """
    metrics = [
        f"{name}--{metric}"
        for name, problem in problems.items()
        for metric in problem.get("metrics", metric_names(problem["kind"]))
    ]
    metrics += [f"{name}--published" for name, problem in problems.items() if problem.get("published")]
    metrics += [f"{name}--averages" for name, problem in problems.items() if problem.get("averages")]
    files = ["summary.csv", "convergence.csv", *(f"{stem}.csv" for stem in _PRINTED)]
    return files + [f"{stem}.{ending}" for stem in (*_PRINTED, *metrics) for ending in ("md", "tex")]
