"""Made-up experiments on disk in the workflow's layout: seeded numbers, failed runs, a skipped metric."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from ttfm.evaluation.catalogue import names as metric_names
from ttfm.evaluation.image_metrics import DEFAULTS
from ttfm.files import write_arrays

BUDGETS = [1, 2, 4, 8]
SEEDS = [0, 1, 2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
HOSTILE = "<script>alert(1)</script> a_b & c | 100 % $x$"
REASON = "non-finite loss term 'eulerian' at step 312 (seed 2)"
RENOISE = "re-noising leaves the ODE path"
NO_WEIGHTS = "no weights of SqueezeNet found <offline>"

STUDENTS = {
    "itvm": ("itvm", "ITVM", True, "any_to_any", "arXiv 2505.01169 (reconstruction)", 118.0),
    "lfmd": ("lfmd", "LFMD", True, "any_to_any", "arXiv 2406.07507", 166.0),
    "cd": ("cd", "Consistency distillation", True, "to_data", "arXiv 2303.01469", 90.0),
    "meanflow": ("meanflow", "MeanFlow", False, "any_to_any", "arXiv 2505.13447", 140.0),
    "mf_distill": ("meanflow_distill", "MeanFlow distillation", True, "any_to_any", "arXiv 2511.13019", 120.0),
}
FAMILY = {"itvm": "Lagrangian", "lfmd": "Lagrangian", "cd": "consistency"}
TARGETS = {"itvm": 0.9, "lfmd": 0.0, "cd": 0.0, "meanflow": None, "meanflow_distill": None}
SNAPSHOTS = [100, 300, 1000, 3000, 6000]
FIELD = 36
"""Students of the large experiment."""


def field() -> dict[str, tuple]:
    """As many students as the largest experiment has, in six families; the last learns a velocity."""
    losses = ("itvm", "lfmd", "meanflow_distill", "cd", "meanflow", "shortcut")
    words = ("", ", EMA 0.99", ", warm-up of the derivative", ", no initial term", ", power 0.75", " (reconstruction)")
    students = {}
    for i in range(FIELD):
        loss = losses[i % 6]
        title = f"{loss.replace('_', ' ').title()}{words[i // 6]}"
        learns = "to_data" if loss == "cd" else "velocity" if i == FIELD - 1 else "any_to_any"
        students[f"m{i:02d}"] = (
            loss,
            title,
            loss not in ("meanflow", "shortcut"),
            learns,
            "arXiv 2303.01469",
            60 + 5 * i,
        )
    return students


POINTS = ["energy_distance", "sliced_w2", "mmd", "endpoint_rmse", "semigroup_defect", "tangent_defect"]
IMAGES = ["fd-digits", "kid-digits", "lpips-squeeze", "l2", "semigroup_defect", "tangent_defect"]
NEAREST = ["nearest-train", "copied-train"]
WHOLE_MAP = {"semigroup_defect", "tangent_defect"}
PAIRED = {"endpoint_rmse", "l2", "lpips-squeeze"}
SCALE = {
    "energy_distance": 0.004, "sliced_w2": 0.05, "mmd": 0.0008, "endpoint_rmse": 0.1, "fd-digits": 2.4,
    "kid-digits": 0.02, "lpips-squeeze": 0.08, "l2": 0.12, "semigroup_defect": 0.03, "tangent_defect": 0.2,
}  # fmt: skip


def _experiment(title: str, students: dict[str, tuple], measured: bool) -> dict:
    problem = {"seeds": SEEDS, "headline": "endpoint_rmse", "kind": "points", "shape": [2], "teacher": "closed_form"}
    if measured:
        problem |= {"snapshots": True, "maps": True}
    return {
        "name": "synthetic",
        "title": "Few-step flow models, made-up numbers",
        "description": "Five losses under one teacher, one network and one budget. The numbers are random.",
        "source": "workflow/experiments/synthetic.yaml",
        "config": {"iterations": 6000, "batch": 512, "title": title},
        "budgets": BUDGETS,
        "problems": {
            "ring": problem | {"title": "8-Gaussian ring", "description": "Eight Gaussians on a circle of radius 2."},
            "digits": problem
            | {
                "title": "Digits",
                "description": "Grey 8 by 8 digits of scikit-learn.",
                "kind": "images",
                "shape": [1, 8, 8],
                "teacher": "learned",
                "headline": "fd-digits",
                "neighbours": measured,
                "metrics": metric_names("images", [*DEFAULTS["digits"], *NEAREST[: 2 * measured]]),
            },
        },
        "students": {
            name: {
                "loss": loss,
                "family": FAMILY.get(loss, loss.replace("_", " ")),
                "title": title if name == "meanflow" and title else shown,
                "needs_teacher": teacher,
                "starts_from_teacher": teacher,
                "offline": "",
                "learns": learns,
                "source": source,
                "note": "random weights" if not teacher else "",
            }
            for name, (loss, shown, teacher, learns, source, _) in students.items()
        },
    }


def _failed(problem: str, student: str, seed: int | None) -> bool:
    # In the large experiment one student loses a run, and another all of a problem.
    lost = (("digits", "mf_distill", 2), ("ring", "m07", 1), *(("digits", "m11", n) for n in SEEDS))
    return (problem, student, seed) in lost


def _level(problem: str, rank: int) -> float:
    """How much worse than the first a student is; of many, another order on each problem."""
    return 1 + 0.35 * rank if rank < 5 else 1 + 0.35 * ((rank * (5 if problem == "ring" else 11)) % 37)


def _metric_rows(rng: np.random.Generator, students: dict[str, tuple]) -> list[dict]:
    rows: list[dict] = []
    shared = {"experiment": "synthetic", "commit": COMMIT, "device": "cpu"}

    def add(problem, student, seed, steps, metric, value, status="ok", reason=""):
        split = "-" if metric in PAIRED | WHOLE_MAP else "fresh" if problem == "ring" else "test"
        extractor = "digits-classifier 1f3a" if metric in ("fd-digits", "kid-digits") else "-"
        rows.append(shared | {
            "problem": problem, "student": student, "loss": students.get(student, [""])[0], "seed": seed,
            "steps": steps, "metric": metric, "value": value, "N": 2048, "split": split, "extractor": extractor,
            "status": status, "reason": reason,
        })  # fmt: skip

    for problem, metrics in (("ring", POINTS), ("digits", IMAGES)):
        for metric in metrics:
            scale = SCALE[metric]
            steps = [""] if metric in WHOLE_MAP else BUDGETS
            for rank, (student, (_, _, _, learns, _, _)) in enumerate(students.items()):
                for seed in SEEDS:
                    for k in steps:
                        cell = (problem, student, seed, k, metric)
                        if metric == "lpips-squeeze":
                            add(*cell, "", "skipped", NO_WEIGHTS)
                        elif _failed(problem, student, seed):
                            add(*cell, "", "failed", REASON)
                        elif (learns != "any_to_any" and metric in WHOLE_MAP) or (
                            learns == "to_data" and metric in PAIRED and k != 1
                        ):
                            add(*cell, "", "skipped", RENOISE)
                        else:
                            level = scale * _level(problem, rank) * (1 if k == "" else k ** (-0.12 * (rank % 7)))
                            add(*cell, level * rng.lognormal(0, 0.06))
            for k in steps if metric not in WHOLE_MAP | {"lpips-squeeze"} else []:
                add(problem, "teacher_euler", 0, k, metric, scale * 12 / k**2)
            if metric not in WHOLE_MAP | PAIRED:
                add(problem, "teacher", 0, "", metric, scale * 0.4)
                add(problem, "data", "", "", metric, -scale * 0.01 if metric == "mmd" else scale * 0.3)
    return rows


def _cost_rows(rng: np.random.Generator, students: dict[str, tuple]) -> list[dict]:
    rows = []
    for problem in ("ring", "digits"):
        factor = 1.0 if problem == "ring" else 1.7
        for student, (loss, _, teacher, _, _, seconds) in students.items():
            for seed in SEEDS:
                failed = _failed(problem, student, seed)
                took = seconds * factor * rng.lognormal(0, 0.03) * (0.05 if failed else 1)
                iterations = 6000 if teacher or problem == "ring" else 10000
                rows.append({
                    "experiment": "synthetic", "problem": problem, "student": student, "loss": loss, "seed": seed,
                    "iterations": iterations, "batch": 512, "seconds": took, "seconds_per_step": took / iterations,
                    "peak_memory_mb": 410.0 + 3 * seed, "forward": 2.5 if loss == "itvm" else 1, "backward": 1,
                    "jvp": int(loss in ("lfmd", "meanflow", "meanflow_distill")), "teacher": int(teacher),
                    "status": "failed" if failed else "ok", "reason": REASON if failed else "",
                    "commit": COMMIT, "device": "cpu",
                })  # fmt: skip
    rows.append(dict.fromkeys(rows[0], "") | {
        "experiment": "synthetic", "problem": "digits", "student": "teacher", "loss": "fm", "iterations": 4000,
        "batch": 512, "seconds": 61.0, "seconds_per_step": 61 / 4000, "peak_memory_mb": 380.0, "forward": 1,
        "backward": 1, "jvp": 0, "teacher": 0, "status": "ok", "commit": COMMIT, "device": "cpu",
    })  # fmt: skip
    return rows


def _curve_rows(rng: np.random.Generator, students: dict[str, tuple]) -> list[dict]:
    rows = []
    for problem in ("ring", "digits"):
        for rank, student in enumerate(students):
            for seed in SEEDS:
                for step in range(100, 400 if _failed(problem, student, seed) else 6001, 100):
                    rows.append({
                        "problem": problem, "student": student, "seed": seed, "step": step, "seconds": step / 50,
                        "loss": (1 + rank) * (0.05 + step**-0.5) * rng.lognormal(0, 0.15),
                        "map_error": (0.1 + 0.03 * rank + 8 / step) * rng.lognormal(0, 0.03) if step % 500 == 0 else "",
                    })  # fmt: skip
    return rows


def _ring(rng: np.random.Generator, count: int, spread: float = 0.15) -> np.ndarray:
    angle = rng.integers(0, 8, count) * np.pi / 4
    return (2 * np.stack([np.cos(angle), np.sin(angle)], 1) + spread * rng.normal(size=(count, 2))).astype(np.float32)


def _digits(rng: np.random.Generator, count: int) -> np.ndarray:
    y, x = np.mgrid[-1:1:8j, -1:1:8j]
    radius = np.hypot(y, x)[None] * rng.uniform(0.8, 1.6, (count, 1, 1))
    return (2 * np.exp(-8 * (radius - 0.7) ** 2) - 1).astype(np.float32)[:, None]


def _arrays(folder: Path, rng: np.random.Generator, students: dict[str, tuple]) -> None:
    noise = rng.normal(size=(512, 2)).astype(np.float32)
    nearest = np.round(np.arctan2(noise[:, 1], noise[:, 0]) / (np.pi / 4)) * np.pi / 4
    ends = (2 * np.stack([np.cos(nearest), np.sin(nearest)], 1) + 0.15 * noise).astype(np.float32)
    times = np.linspace(0, 1, 33, dtype=np.float32)
    bend = np.sin(np.pi * times)[:, None, None] * 0.15

    def paths(t: np.ndarray, wobble: float) -> np.ndarray:
        straight = noise[None, :64] * (1 - t[:, None, None]) + ends[None, :64] * t[:, None, None]
        return (straight + wobble * np.sin(np.pi * t)[:, None, None]).astype(np.float32)

    for problem, real in (("ring", _ring), ("digits", _digits)):
        here = folder / problem
        here.mkdir(parents=True)
        write_arrays(here / "data.npz", {"reference": real(rng, 2048), "floor": real(rng, 2048)})
    fine = paths(times, 0) + bend.astype(np.float32)
    write_arrays(folder / "ring/solution.npz", {"x0": noise, "x1": ends, "times": times, "paths": fine})
    digits = _digits(rng, 512)
    digits_noise = rng.normal(size=digits.shape).astype(np.float32)
    still = np.zeros((33, 64, 1, 8, 8), np.float32)
    write_arrays(folder / "digits/solution.npz", {"x0": digits_noise, "x1": digits, "times": times, "paths": still})
    for problem in ("ring", "digits"):
        for rank, student in enumerate([*students, "teacher_euler"]):
            for seed in SEEDS if student in students else [0]:
                if _failed(problem, student, seed):
                    continue
                run = folder / problem / student / str(seed)
                run.mkdir(parents=True)
                arrays = {}
                for k in BUDGETS:
                    blur = 0.1 + 0.12 * min(rank, 5) / k
                    if problem == "ring":
                        arrays[f"k{k}"] = ends[:64] + blur * rng.normal(size=(64, 2)).astype(np.float32)
                        arrays[f"all_k{k}"] = _ring(rng, 2048, 0.15 + blur)
                    else:
                        arrays[f"k{k}"] = digits[:64] + blur * rng.normal(size=(64, 1, 8, 8)).astype(np.float32)
                if problem == "ring" and student != "teacher_euler" and students[student][3] == "any_to_any":
                    arrays["path_k8"] = paths(np.linspace(0, 1, 9), 0.1 * rank)
                write_arrays(run / "samples.npz", arrays)


def _neighbour_rows(folder: Path, students: dict[str, tuple]) -> list[dict]:
    """Distances to training images of the first seeds, and their arrays, which failed runs do not have."""
    rng = np.random.default_rng(8)
    rows, arrays = [], {}
    for rank, (student, loss) in enumerate([
        *(("data", ""), ("teacher", ""), ("teacher_euler", "")),
        *((name, about[0]) for name, about in students.items()),
    ]):  # fmt: skip
        row = {"experiment": "synthetic", "problem": "digits", "student": student, "loss": loss, "commit": COMMIT}
        row |= {"device": "cpu", "N": 1000, "split": "train", "extractor": "pixels uint8", "status": "ok"}
        row["seed"] = "" if student == "data" else 0
        found = dict(zip(NEAREST, (1 - 0.04 * rank, 0.01 * (rank != 1)), strict=True))
        if _failed("digits", student, 0):
            row |= {"status": "failed", "reason": REASON}
            rows += [row | {"metric": name, "value": ""} for name in found]
            continue
        rows += [row | {"metric": name, "value": value} for name, value in found.items()]
        pixels = np.round((_digits(rng, 16) + 1) * 127.5).astype(np.uint8).reshape(4, 4, 1, 8, 8)
        arrays |= {f"samples_{student}": pixels[:, 0], f"nearest_{student}": pixels[:, 1:]}
        arrays[f"distance_{student}"] = np.sort(rng.random((4, 3)))
    write_arrays(folder / "digits/neighbours/shown.npz", arrays)
    return rows


def _records(folder: Path, students: dict[str, tuple]) -> None:
    for problem in ("ring", "digits"):
        for student, (loss, *_) in students.items():
            for seed in SEEDS:
                failed = _failed(problem, student, seed)
                run = folder / problem / student / str(seed)
                run.mkdir(parents=True, exist_ok=True)
                record = {
                    "status": "failed" if failed else "ok",
                    "reason": REASON if failed else "",
                    "seconds": 100.0 + seed,
                    "cpu_seconds": 125.0,
                    "started": f"2026-01-01T10:{10 * seed:02d}:00+00:00",
                    "finished": f"2026-01-01T10:{10 * seed + 5:02d}:00+00:00",
                    "commit": COMMIT,
                    "dirty": False,
                    "device": "cpu",
                    "versions": {"python": "3.11.2", "torch": "2.15.0"},
                    "config": {"seed": seed},
                    "loss": {
                        "uses_jvp": loss in ("lfmd", "meanflow", "meanflow_distill"),
                        "target_decay": TARGETS.get(loss),
                        "stages": 4 * (loss == "shortcut"),
                        "offline": "",
                    },
                }
                (run / "record.json").write_text(json.dumps(record), encoding="utf-8")


def _timing_rows(students: dict[str, tuple]) -> list[dict]:
    rows = []
    for problem in ("ring", "digits"):
        for i, (student, (loss, *_)) in enumerate(students.items()):
            # One student could not be timed on one problem.
            ok = (problem, i) != ("digits", 2)
            relative = (1.5 + 0.4 * i) * (1.0 if problem == "ring" else 1.1)
            rows.append({
                "experiment": "synthetic", "problem": problem, "student": student, "loss": loss,
                "seconds_per_step": 0.004 * relative if ok else "", "relative": relative if ok else "",
                "repeats": 5, "status": "ok" if ok else "failed", "reason": "" if ok else "out of memory",
                "commit": COMMIT, "device": "cpu",
            })  # fmt: skip
    return rows


def _snapshot_rows(rng: np.random.Generator, students: dict[str, tuple]) -> list[dict]:
    rows = []
    for problem, metric in (("ring", "endpoint_rmse"), ("digits", "fd-digits")):
        for rank, (student, (loss, *_, seconds)) in enumerate(students.items()):
            for seed in SEEDS:
                for iteration in SNAPSHOTS[:1] if _failed(problem, student, seed) else SNAPSHOTS:
                    for k in BUDGETS[:2]:
                        level = SCALE[metric] * (_level(problem, rank) + 300 / iteration) * k**-0.1
                        rows.append({
                            "experiment": "synthetic", "problem": problem, "student": student, "loss": loss,
                            "seed": seed, "steps": k, "metric": metric, "value": level * rng.lognormal(0, 0.05),
                            "N": 2048, "split": "-", "extractor": "-", "status": "ok", "reason": "",
                            "commit": COMMIT, "device": "cpu", "iteration": iteration,
                            "trained_seconds": seconds * iteration / 6000 * rng.lognormal(0, 0.02),
                            "average": "",
                        })  # fmt: skip
    return rows


def _map_rows(rng: np.random.Generator, students: dict[str, tuple]) -> list[dict]:
    rows = []
    times = np.linspace(0, 1, 9)
    for problem in ("ring", "digits"):
        for rank, (student, (_, _, _, learns, *_)) in enumerate(students.items()):
            for seed in SEEDS:
                if learns != "any_to_any" or _failed(problem, student, seed):
                    continue
                for s in times:
                    common = {"problem": problem, "student": student, "seed": seed, "s": s}
                    high = 0.02 * _level(problem, rank) * (0.2 + s) * rng.lognormal(0, 0.1)
                    for t in np.minimum(times[times >= s], 0.98) if s < 1 else []:
                        value = 5 * high * (1 + t - s)
                        rows.append(common | {"metric": "tangent_map", "t": t, "value": value})
                    for t in times[times > s]:
                        value = high * (t - s) * rng.lognormal(0, 0.1)
                        rows.append(common | {"metric": "semigroup_map", "t": t, "value": value})
    return rows


def write(folder: Path, hostile: bool = False, measured: bool = False, many: bool = False) -> Path:
    """Write an experiment into ``folder`` and return it.

    Args:
        folder: must not exist.
        hostile: give a student a title full of markup.
        measured: with time per step, scores during training, and maps of defects; else these files are missing.
        many: with the students of ``field``.
    """
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True)
    students = field() if many else STUDENTS
    experiment = _experiment(HOSTILE if hostile else "", students, measured)
    (folder / "experiment.json").write_text(json.dumps(experiment), encoding="utf-8")
    tables = {"metrics": _metric_rows(rng, students), "costs": _cost_rows(rng, students)}
    tables["curves"] = _curve_rows(rng, students)
    _arrays(folder, rng, students)
    if measured:
        tables |= {"timing": _timing_rows(students), "snapshots": _snapshot_rows(rng, students)}
        tables["maps"] = _map_rows(rng, students)
        tables["metrics"] += _neighbour_rows(folder, students)
    for name, rows in tables.items():
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
    _records(folder, students)
    return folder
