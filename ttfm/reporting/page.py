"""The page: one self-contained HTML file for a reader who did not run the experiment."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ttfm.reporting import palette
from ttfm.reporting.alt import alternative, caption
from ttfm.reporting.averages import averages_table
from ttfm.reporting.convergence import front_sentence, summarise_convergence
from ttfm.reporting.costs import cost_table, summarise_costs
from ttfm.reporting.inputs import Results
from ttfm.reporting.labels import metric_label, problem_metrics, steps_list
from ttfm.reporting.methods import methods_table, summarise_methods
from ttfm.reporting.names import MANY, figure_names
from ttfm.reporting.numbers import duration, listed, plural
from ttfm.reporting.provenance import failures
from ttfm.reporting.published import published_table
from ttfm.reporting.ranks import highlighted, rank_sentences, rank_table, summarise_ranks
from ttfm.reporting.ranks import rules as rank_rules
from ttfm.reporting.summary import summarise
from ttfm.reporting.tables import headline_table, metric_table
from ttfm.reporting.tables import rules as table_rules
from ttfm.reporting.verdict import findings

HERE = Path(__file__).parent
_ARXIV = re.compile(r"(arXiv:? ?(\d{4}\.\d{4,5}))")


@dataclass(frozen=True)
class Figure:
    """An embedded figure: data URIs for light and dark pages ("" where there is no dark version), size and words."""

    light: str
    dark: str
    width: int
    height: int
    alt: str
    caption: str


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _size(path: Path, content: bytes) -> tuple[int, int]:
    """Width and height in pixels (PNG, from its header) or points (SVG, from its root element)."""
    if path.suffix == ".png":
        width, height = struct.unpack(">II", content[16:24])
        return width, height
    found = re.search(rb'<svg [^>]*?width="([\d.]+)pt"[^>]*?>', content, re.S)
    height_found = re.search(rb'<svg [^>]*?height="([\d.]+)pt"', content, re.S)
    if not found or not height_found:
        raise ValueError(f"{path}: not a figure of this package (no size in points); draw the figures again")
    return round(float(found[1])), round(float(height_found[1]))


def embed(path: Path, alt: str, words: str) -> Figure:
    """Read a PNG or SVG figure into the page.

    Raises:
        FileNotFoundError: if the figure was not drawn.
        ValueError: if it is of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"figure {path} does not exist; draw the figures before the page")
    content = path.read_bytes()
    width, height = _size(path, content)
    if path.suffix == ".png":
        return Figure(_uri("png", content), "", width, height, alt, words)
    dark = palette.for_dark(content.decode("utf-8")).encode("utf-8")
    return Figure(_uri("svg+xml", content), _uri("svg+xml", dark), width, height, alt, words)


def linked(text: str) -> list[tuple[str, str]]:
    """``text`` in pieces (words, address), the address "" except for arXiv numbers."""
    pieces, end = [], 0
    for found in _ARXIV.finditer(text):
        pieces += [(text[end : found.start()], ""), (found[1], f"https://arxiv.org/abs/{found[2]}")]
        end = found.end()
    return [piece for piece in (*pieces, (text[end:], "")) if piece[0]]


def style() -> str:
    """The page's style sheet, the students' colours included."""
    light = "".join(f".c{i}{{color:{colour}}}" for i, colour in enumerate((*palette.COLOURS, palette.FAINT)))
    dark = "".join(f".c{i}{{color:{colour}}}" for i, colour in enumerate((*palette.ON_DARK, palette.DARK_FAINT)))
    text = (HERE / "page.css").read_text(encoding="utf-8")
    return f"{text}\n{light}\n@media screen and (prefers-color-scheme: dark){{{dark}}}\n"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def content_security_policy(css: str, script: str) -> str:
    """A policy that lets nothing in but embedded images and exactly this style sheet and this script."""
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(css)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["linked"] = linked
    environment.filters["duration"] = duration
    return environment


def teacher_words(about: Mapping[str, Any]) -> str:
    """Where a problem's teacher comes from, in words."""
    if about["teacher"] == "closed_form":
        return "known in closed form"
    if name := about.get("imported"):
        return f"imported, not trained here: {name}"
    return "learned by flow matching"


def _problems(
    experiment: Mapping[str, Any],
    summary: pd.DataFrame,
    costs: pd.DataFrame,
    convergence: pd.DataFrame,
    snapshots: pd.DataFrame,
    shown: Mapping[str, Figure],
) -> list[dict[str, Any]]:
    sections: list[dict[str, Any]] = []
    for name, about in experiment["problems"].items():
        sections.append({
            "anchor": f"problem-{len(sections) + 1}",
            "title": about["title"],
            "description": about["description"],
            "headline": metric_label(about["headline"]).title,
            "teacher": teacher_words(about),
            "seeds": plural(len(about["seeds"]), "seed"),
            "figures": [shown[stem] for stem in figure_names({name: about}, experiment["students"])[:-1]],
            "convergence": front_sentence(convergence, experiment, name),
            "tables": [
                (metric_label(metric).title, metric_table(summary, experiment, name, metric))
                for metric in problem_metrics(summary, experiment, name)
            ],
            "published": published_table(summary, experiment, name),
            "averages": averages_table(snapshots, experiment, name),
            "cost": cost_table(costs, experiment, name),
        })  # fmt: skip
    return sections


def _facts(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """What the introduction says, from the plan alone."""
    students, problems = experiment["students"].values(), experiment["problems"].values()
    counts = sorted({len(about["seeds"]) for about in problems})
    titles = [about["title"] for about in students]
    rebuilt = [about["title"] for about in students if about["loss"] == "itvm"]
    alone = [about["title"] for about in students if not (about["starts_from_teacher"] or about.get("start"))]
    return {
        # A long list says less than its length: the methods table names them all.
        "methods": listed(titles) if len(titles) <= 6 else f"{len(titles)} students (named under Methods)",
        "problems": listed(about["title"] for about in problems),
        "budgets": steps_list(experiment["budgets"]),
        "seeds": plural(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds",
        "itvm": listed(rebuilt) if len(rebuilt) <= 3 else f"The {len(rebuilt)} students of the loss itvm",
        "itvm_count": len(rebuilt),
        "alone": listed(alone) if len(alone) <= 3 else f"The {len(alone)} students of losses that need none",
        "alone_count": len(alone),
    }


def build_page(data: Results, figures: Mapping[str, Path], provenance: Mapping[str, Any], notes: list[str]) -> str:
    """The experiment's page as HTML; nothing is loaded from anywhere, every value is escaped.

    Args:
        data: the experiment's files.
        figures: PNG or SVG file of every name in ``figure_names``.
        provenance: from ``provenance``.
        notes: sentences for the notes section.

    Raises:
        FileNotFoundError: naming a figure that does not exist.
        KeyError: naming a figure that ``figures`` lacks.
    """
    experiment = data.experiment
    summary = summarise(data.metrics, experiment)
    costs = summarise_costs(data.costs, experiment)
    convergence = summarise_convergence(data.snapshots, experiment)
    ranks = summarise_ranks(data.metrics, summary, data.costs, experiment)
    methods = summarise_methods(experiment, data.records, data.timing)
    coloured = highlighted(summary, experiment)
    shown = {
        stem: embed(
            figures[stem],
            alternative(stem, summary, experiment, coloured, convergence),
            caption(stem, experiment, coloured, convergence),
        )
        for stem in figure_names(experiment["problems"], experiment["students"])
    }
    # Only the package's own two files enter the page unescaped.
    css, script = style(), (HERE / "page.js").read_text(encoding="utf-8")
    return _environment().get_template("page.html.j2").render(
        policy=content_security_policy(css, script),
        css=Markup(css),
        script=Markup(script),
        experiment=experiment,
        facts=_facts(experiment),
        headline=headline_table(summary, experiment),
        rules=table_rules(*(about["headline"] for about in experiment["problems"].values())),
        ranks=rank_table(ranks, experiment),
        rank_rules=rank_rules(experiment),
        rank_sentences=rank_sentences(ranks, experiment),
        findings=findings(summary, costs, experiment),
        problems=_problems(experiment, summary, costs, convergence, data.snapshots, shown),
        cost_figure=shown["cost"],
        many=len(experiment["students"]) > MANY,
        methods=methods_table(methods, data.timing, experiment),
        notes=notes,
        failures=failures(data.metrics, data.costs, experiment),
        provenance=provenance,
        config=json.dumps(provenance.get("config", {}), indent=2, ensure_ascii=False),
        marks=palette.marks(experiment["students"], coloured),
        shapes=palette.SHAPES,
    )  # fmt: skip
