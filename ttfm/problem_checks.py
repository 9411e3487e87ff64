"""What a schema cannot say of a problem's teacher: its labels, its files, its solver. Imports no torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

Config = dict[str, Any]

IMPORT = ("weights", "adapter")
"""Keys of a problem's ``teacher`` that name files of a teacher that is not trained here."""


def teacher_faults(problem: Config, closed_form: bool, where: str, unguided: list[str]) -> list[str]:
    """Every fault of a problem's guidance, imported teacher and fine solver.

    Args:
        problem: the problem, with defaults filled in.
        closed_form: whether its velocity is known.
        where: the problem's key, for messages.
        unguided: the students whose losses learn, at least in part, from data alone.
    """
    return [
        *_guidance_faults(problem, f"{where}.guidance", unguided),
        *_import_faults(problem["teacher"], closed_form, f"{where}.teacher"),
        *_solver_faults(problem["evaluation"], f"{where}.evaluation.solver"),
    ]


def _guidance_faults(problem: Config, where: str, unguided: list[str]) -> list[str]:
    """Guidance is between what a network knows with and without labels."""
    if "guidance" not in problem:
        return []
    start, end = problem["guidance"]["interval"]
    faults = [] if start < end else [f"{where}.interval: [{start}, {end}] is not allowed; the first time comes first"]
    trained = "weights" not in problem["teacher"]
    if not problem["network"].get("classes"):
        faults.append(f"{where}: the teacher needs labels; set network.classes to the number of the data's classes")
    elif trained and not (problem["training"] | problem["teacher"]).get("label_dropout"):
        faults.append(f"{where}: the teacher must learn without labels too; set teacher.label_dropout, to 0.1 say")
    if unguided:
        faults.append(
            f"{where}: {', '.join(unguided)} would learn from data, which guidance does not reach, and be compared with"
            " a guided teacher; leave them out of `students`, or the guidance out of the problem"
        )
    return faults


def _import_faults(teacher: Config, closed_form: bool, where: str) -> list[str]:
    asked = {key: teacher[key] for key in IMPORT if key in teacher}
    if asked and closed_form:
        return [f"{where}: the velocity of this data is known in closed form; leave {' and '.join(asked)} out"]
    if "adapter" in asked and "weights" not in asked:
        return [f"{where}.adapter: it reads the file that {where}.weights names; give that too"]
    faults = [
        f"{where}.{key}: {value!r} is no file" + ("" if isinstance(value, str) else "; it must be a path")
        for key, value in asked.items()
        if not (isinstance(value, str) and Path(value).is_file())
    ]
    return faults or [
        f"{where}.{key}: {value!r} is not allowed; Snakemake takes braces in a file's name for a pattern"
        for key, value in asked.items()
        if set("{}") & set(value)
    ]


def _solver_faults(evaluation: Config, where: str) -> list[str]:
    if evaluation["solver"] != "dopri5" or find_spec("torchdiffeq"):
        return []
    return [f"{where}: 'dopri5' needs torchdiffeq, which is not installed; pip install -e '.[dopri5]', or take 'rk4'"]
