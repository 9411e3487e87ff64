"""From result files to tables, figures and the page: the functions that a workflow's report steps call."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ttfm.evaluation.catalogue import names as metric_names
from ttfm.files import map_array, read_arrays, write_text
from ttfm.reporting.averages import averages_table
from ttfm.reporting.convergence import summarise_convergence
from ttfm.reporting.costs import cost_table, summarise_costs
from ttfm.reporting.inputs import Results, load
from ttfm.reporting.labels import problem_metrics
from ttfm.reporting.markup import latex, markdown
from ttfm.reporting.methods import methods_table, summarise_methods
from ttfm.reporting.names import VECTOR, figure_names, frechet_and_lpips, table_files
from ttfm.reporting.palette import marks
from ttfm.reporting.provenance import provenance, skipped_notes
from ttfm.reporting.published import published_table
from ttfm.reporting.ranks import highlighted, rank_table, summarise_ranks
from ttfm.reporting.summary import joined, summarise, summary_csv
from ttfm.reporting.tables import Table, headline_table, metric_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ttfm.reporting.figures import Sampled

__all__ = ["figure_names", "table_files", "write_figures", "write_page", "write_tables"]

NO_PATH = {
    "to_data": "learns the map to data only: it re-noises between steps and follows no path",
    "own": "has a sampler of its own and no map to draw",
}


def write_tables(results: Path) -> list[Path]:
    """Write all of ``table_files``: returns their paths, and those of tables of metrics that the catalogue lacks.

    The CSV files hold numbers to compute with; Markdown and LaTeX hold them as printed.

    Args:
        results: ``results/<experiment>``.
    """
    data = load(results)
    folder = data.folder / "tables"
    summary = summarise(data.metrics, data.experiment)
    costs = summarise_costs(data.costs, data.experiment)
    methods = summarise_methods(data.experiment, data.records, data.timing)
    ranks = summarise_ranks(data.metrics, summary, data.costs, data.experiment)
    headline = {problem: about["headline"] for problem, about in data.experiment["problems"].items()}
    texts = {
        "summary.csv": summary_csv(summary),
        "convergence.csv": summary_csv(summarise_convergence(data.snapshots, data.experiment)),
        "methods.csv": summary_csv(methods),
        "ranks.csv": summary_csv(ranks),
        "headline.csv": summary_csv(summary[summary["metric"] == summary["problem"].map(headline)]),
        "cost.csv": summary_csv(costs),
    }
    tables = [
        methods_table(methods, data.timing, data.experiment),
        headline_table(summary, data.experiment),
        rank_table(ranks, data.experiment),
    ]
    for problem, about in data.experiment["problems"].items():
        # Every metric of the problem's kind has its table, so that a workflow can declare them before any is measured.
        for metric in dict.fromkeys(
            [*problem_metrics(summary, data.experiment, problem), *about.get("metrics", metric_names(about["kind"]))]
        ):
            tables.append(metric_table(summary, data.experiment, problem, metric))
        beside = (
            published_table(summary, data.experiment, problem),
            averages_table(data.snapshots, data.experiment, problem),
        )
        tables += filter(None, beside)
    for table in tables:
        texts |= {f"{table.name}.md": markdown(table), f"{table.name}.tex": latex(table)}
    cost_tables: list[Table] = [cost_table(costs, data.experiment, name) for name in data.experiment["problems"]]
    texts |= {"cost.md": "\n".join(map(markdown, cost_tables)), "cost.tex": "\n".join(map(latex, cost_tables))}
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def _seeds(data: Results, problem: str, student: str) -> Iterable[tuple[int, dict[str, Any]]]:
    for seed in data.experiment["problems"][problem]["seeds"]:
        yield seed, data.records.get((problem, student, seed), {})


def _sampled(data: Results, problem: str, student: str, shown: list[str]) -> Sampled:
    """The samples of the first seed that succeeded, or why there are none."""
    from ttfm.reporting.figures import Sampled

    about = data.experiment["students"][student]
    mark = marks(data.experiment["students"], shown)[student]
    reasons = []
    for seed, record in _seeds(data, problem, student):
        path = data.folder / problem / student / str(seed) / "samples.npz"
        if record.get("status", "ok") == "ok" and path.is_file():
            reason = NO_PATH.get(about["learns"], "")
            return Sampled(about["title"], mark, read_arrays(path), seed, reason)
        reasons.append(record.get("reason") or f"seed {seed} left no samples")
    return Sampled(about["title"], mark, reason="; ".join(dict.fromkeys(reasons)) or "no run")


def _euler(data: Results, problem: str) -> Sampled:
    from ttfm.reporting.figures import Sampled

    path = data.folder / problem / "teacher_euler" / "0" / "samples.npz"
    arrays = read_arrays(path) if path.is_file() else {}
    return Sampled("Teacher, Euler", None, arrays, reason="the teacher's Euler samples are missing")


def _array_figures(data: Results, problem: str, shown: list[str]) -> dict[str, Figure]:
    """The figures of one problem that show samples, of these students alone."""
    from ttfm.reporting import figures

    about = data.experiment["problems"][problem]
    budgets = data.experiment["budgets"]
    students = [_sampled(data, problem, student, shown) for student in shown]
    methods = [_euler(data, problem), *students]
    # Empty where the teacher failed.
    solution = read_arrays(data.folder / problem / "solution.npz", ("paths", "x1"))
    if about["kind"] == "images":
        grid = figures.image_grid(about["title"], _teacher_images(data, problem, solution), methods, budgets)
        near = {f"{problem}--neighbours": _neighbours(data, problem, shown)} if about.get("neighbours") else {}
        return {f"{problem}--grid": grid} | near
    reference: np.ndarray = read_arrays(data.folder / problem / "data.npz")["reference"]
    return {
        f"{problem}--samples": figures.samples(about["title"], reference, methods, budgets),
        f"{problem}--trajectories": figures.trajectories(about["title"], solution.get("paths"), reference, students),
    }


def _neighbours(data: Results, problem: str, shown: list[str]) -> Figure:
    """Samples beside their nearest training images: of unseen real images, the teacher, and these students."""
    from ttfm.reporting import figures

    about = data.experiment["problems"][problem]
    arrays = read_arrays(data.folder / problem / "neighbours" / "shown.npz")
    rows = data.metrics[(data.metrics["problem"] == problem) & (data.metrics["status"] == "failed")]
    titles = {"data": "Unseen real images", "teacher": "Teacher, fine ODE", "teacher_euler": "Teacher, Euler"}
    titles |= {name: data.experiment["students"][name]["title"] for name in shown}
    known = marks(data.experiment["students"], shown)
    methods = [
        figures.Sampled(
            title,
            known.get(name),
            {part: arrays[f"{part}_{name}"] for part in ("samples", "nearest") if f"{part}_{name}" in arrays},
            reason=joined(rows.loc[rows["student"] == name, "reason"]),
        )
        for name, title in titles.items()
    ]
    return figures.neighbours(about["title"], methods)


def _teacher_images(data: Results, problem: str, solution: dict[str, np.ndarray]) -> np.ndarray | None:
    """The first of the fine ODE's solutions as images; x1 may be latents, and older results hold nothing else."""
    folder = data.folder / problem
    if (pixels := map_array(folder / "solution.npz", "pixels", folder)) is not None:
        return pixels[:14] / 127.5 - 1
    return solution.get("x1")


def _reasons(data: Results, problem: str) -> str:
    rows: pd.DataFrame = data.costs[(data.costs["problem"] == problem) & (data.costs["status"] != "ok")]
    return "; ".join(dict.fromkeys(rows["reason"]))


def _chart(data: Results, summary: pd.DataFrame, problem: str, family: str, shown: list[str]) -> Figure:
    """A figure of one problem that is made from tables."""
    from ttfm.reporting import figures

    plan, reason = data.experiment, _reasons(data, problem)
    match family:
        case "quality":
            return figures.quality(summary, plan, problem, shown)
        case "frechet-lpips":
            metrics = frechet_and_lpips(plan["problems"][problem])
            assert metrics is not None
            return figures.frechet_lpips(summary, plan, problem, metrics, shown)
        case "families":
            return figures.families(summary, plan, problem, shown)
        case "training":
            return figures.training(data.curves, plan, problem, reason, shown)
        case "convergence":
            return figures.convergence(data.snapshots, plan, problem, reason, shown)
        case "defects":
            absent = [name for name, about in plan["students"].items() if about["learns"] != "any_to_any"]
            return figures.defects(data.maps, plan, problem, absent, reason, shown)
    raise ValueError(f"there is no figure {problem}--{family}")


def write_figures(results: Path, problem: str | None = None) -> list[Path]:
    """Write figures as PNG and SVG under ``figures/``; returns the paths.

    Every declared figure is written whatever happened: where all of a panel failed, the panel says why.

    Args:
        results: ``results/<experiment>``.
        problem: only this problem's figures; None for all of ``figure_names``, the cost figure included.

    Raises:
        ValueError: if the experiment has no such problem.
    """
    from ttfm.reporting import figures

    data = load(results)
    if problem is not None and problem not in data.experiment["problems"]:
        raise ValueError(f"{results} has no problem {problem!r}; it has {', '.join(data.experiment['problems'])}")
    summary = summarise(data.metrics, data.experiment)
    shown = highlighted(summary, data.experiment)
    written: list[Path] = []
    for name, about in data.experiment["problems"].items():
        if problem not in (None, name):
            continue
        arrays = _array_figures(data, name, shown)
        for stem in figure_names({name: about}, data.experiment["students"])[:-1]:
            figure = arrays.get(stem) or _chart(data, summary, name, stem.rpartition("--")[2], shown)
            written += figures.save(figure, data.folder / "figures" / stem)
    if problem is None:
        costs = summarise_costs(data.costs, data.experiment)
        written += figures.save(figures.cost(summary, costs, data.experiment, shown), data.folder / "figures" / "cost")
    return written


def figure_files(folder: Path, experiment: dict[str, Any]) -> dict[str, Path]:
    """The file that the page embeds for each figure: SVG for charts, PNG where there are thousands of marks."""
    return {
        stem: folder / f"{stem}.{'svg' if stem.split('--')[-1] in VECTOR else 'png'}"
        for stem in figure_names(experiment["problems"], experiment["students"])
    }


def write_page(results: Path, out: Path) -> Path:
    """Write the experiment's page, one self-contained HTML file, from its tables' sources and its figures.

    Args:
        results: ``results/<experiment>``; ``write_figures`` must have run.
        out: the file to write, for example ``report/<experiment>/index.html``.

    Raises:
        FileNotFoundError: naming a figure that does not exist.
    """
    from ttfm.reporting.page import build_page

    data = load(results)
    page = build_page(
        data,
        figure_files(data.folder / "figures", data.experiment),
        provenance(data),
        [*data.experiment.get("notes", []), *skipped_notes(data.metrics, data.experiment)],
    )
    write_text(out, page)
    return Path(out)
