"""Whether a class is a loss as the registry needs it, and if not, what is wrong and where.

A mistake in a loss's file is found when an experiment is planned, before any job, and named by file and line.
"""

from __future__ import annotations

import inspect
import linecache
import traceback
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ttfm.options import schema_of

Learns = Literal["velocity", "to_data", "any_to_any", "own"]
Offline = Literal["", "pairs", "trajectories", "schedules"]

TEXTS = {
    "name": "the name by which experiments call it",
    "title": "its name as a figure shows it",
    "family": "which identity of the flow map it enforces",
    "source": "its paper, or that it is your own",
}
SWITCHES = ("needs_teacher", "conditional", "paired")
ARGUMENTS = ("self", "batch", "student", "target", "teacher")


class DeclarationError(ValueError):
    """A loss that cannot be used; the message names its file and line, and every fault found."""


def check(loss: Any, base: type, variant: type) -> None:
    """Check that ``loss`` declares all that a loss must declare.

    Args:
        loss: what was given to ``register``.
        base: the base class of all losses.
        variant: the class of the entries of ``variants``.

    Raises:
        DeclarationError: naming the class's file and line, and every fault found.
    """
    if not inspect.isclass(loss) or not issubclass(loss, base):
        label = getattr(loss, "__name__", repr(loss))
        raise DeclarationError(f"{place(loss)}: {label} is no loss: a loss is a class derived from ttfm.losses.Loss")
    faults = _class_faults(loss, base) + _declared_faults(loss)
    # Options cannot be read from a class that is no dataclass of its own, nor variants be built from wrong options.
    faults = faults or _option_faults(loss) or _variant_faults(loss, variant)
    if faults:
        listed = faults[0] if len(faults) == 1 else "".join(f"\n  {fault}" for fault in faults)
        raise DeclarationError(f"{place(loss)}: the loss {loss.__name__} cannot be used: {listed}")


def place(thing: Any) -> str:
    """``file:line`` of a class's or function's definition; the file alone where its source cannot be read."""
    try:
        file = inspect.getsourcefile(thing)
        lines, start = inspect.getsourcelines(thing)
    except (OSError, TypeError):
        return getattr(thing, "__module__", "unknown module")
    # The definition, not the decorators above it.
    after = next((i for i, line in enumerate(lines) if line.lstrip().startswith(("class ", "def "))), 0)
    return f"{shown(Path(file or '?'))}:{start + after}"


def shown(path: Path) -> str:
    """``path`` as a user would write it: relative to the working directory where it lies below."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def import_fault(path: Path, error: Exception) -> str:
    """``file:line: what went wrong`` for an error that importing ``path`` raised."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError) and error.lineno:
        where = Path(error.filename) if error.filename else path
        text = (error.text or "").strip()
        return f"{shown(where)}:{error.lineno}: {kind}: {error.msg}{f': {text}' if text else ''}"
    # The last line of the user's own file that was running; the error itself may come from deeper.
    own = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == path.resolve()]
    line = own[-1].lineno if own else None
    text = linecache.getline(str(path.resolve()), line).strip() if line else ""
    what = f"{kind}: {error}" if str(error) else kind
    return f"{shown(path)}{f':{line}' if line else ''}: {what}{f' (in: {text})' if text else ''}"


def _class_faults(loss: Any, base: type) -> list[str]:
    faults = []
    parameters = loss.__dict__.get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        faults.append("it is no frozen dataclass: write @register above @dataclass(frozen=True) above the class")
    if "terms" in getattr(loss, "__abstractmethods__", ()):
        faults.append(f"it has no method terms({', '.join(ARGUMENTS)})")
    elif tuple(inspect.signature(loss.terms).parameters) != ARGUMENTS:
        found = ", ".join(inspect.signature(loss.terms).parameters)
        faults.append(f"its method is terms({found}); it must be terms({', '.join(ARGUMENTS)})")
    if getattr(loss, "learns", "") == "own" and loss.sample is base.sample:  # type: ignore[attr-defined]
        faults.append("it learns 'own' and has no method sample(self, model, x0, steps, noise, teacher)")
    return faults + _unannotated(loss)


def _unannotated(loss: Any) -> list[str]:
    """Plain values in the class's body that look like options and are none: a dataclass reads annotations only."""
    faults = []
    inherited = {field.name for parent in loss.__mro__[1:] if is_dataclass(parent) for field in fields(parent)}
    for name, value in vars(loss).items():
        plain = isinstance(value, bool | int | float | str | list | tuple | None)
        if name.startswith("_") or name.isupper() or not plain or name in inspect.get_annotations(loss):
            continue
        if name in inherited:
            faults.append(f"{name} = {value!r} does not change the inherited option; repeat the option's annotation")
        elif not any(name in {*vars(parent), *inspect.get_annotations(parent)} for parent in loss.__mro__[1:]):
            kind = type(value).__name__
            faults.append(f"{name} = {value!r} has no annotation; an option is written {name}: {kind} = {value!r}")
    return faults


def _declared_faults(loss: Any) -> list[str]:
    faults = []
    for name, meaning in TEXTS.items():
        value = getattr(loss, name, None)
        if not isinstance(value, str) or not value.strip():
            faults.append(f"{name} is missing: {name} = {'...' if value is None else repr(value)} ({meaning})")
    allowed = get_args(Learns)
    if getattr(loss, "learns", None) not in allowed:
        found = f"{loss.learns!r} is not allowed" if hasattr(loss, "learns") else "is missing"
        faults.append(f"learns: {found}; one of {', '.join(map(repr, allowed))}")
    if loss.offline is True or loss.offline not in get_args(Offline):
        faults.append(f"offline: {loss.offline!r} is not allowed; one of {', '.join(map(repr, get_args(Offline)))}")
    for name in SWITCHES:
        value = getattr(loss, name, None)
        if not isinstance(value, bool):
            found = "is missing" if value is None else f"{value!r} is not allowed"
            faults.append(f"{name}: {found}; True or False")
    exact = getattr(loss, "exact_terms", ())
    if not isinstance(exact, tuple) or not all(isinstance(name, str) for name in exact):
        faults.append(f"exact_terms: {exact!r} is not allowed; a tuple of names of terms")
    if getattr(loss, "starts_from_teacher", None) not in (None, True, False):
        faults.append(f"starts_from_teacher: {loss.starts_from_teacher!r} is not allowed; True, False or None")
    return faults


def _option_faults(loss: Any) -> list[str]:
    own = [field.name for field in fields(loss)]
    faults = [
        f"{name} is declared with an annotation, which makes it an option; write {name} = ... alone"
        for name in (*TEXTS, *SWITCHES, "learns", "offline", "variants", "starts_from_teacher", "exact_terms")
        if name in own
    ]
    if faults:
        return faults
    try:
        schema_of(loss)
    except (TypeError, NameError) as error:
        return [f"its options cannot be read: {error}"]
    return []


def _variant_faults(loss: Any, variant: type) -> list[str]:
    variants = loss.variants
    if not isinstance(variants, tuple) or not variants or not all(isinstance(v, variant) for v in variants):
        return ["variants: it must be a tuple of at least one Variant(...)"]
    faults = []
    for index, entry in enumerate(variants):
        try:
            built = loss(**entry.options)
        except (TypeError, ValueError) as error:
            faults.append(f"variants[{index}]: {error}")
            continue
        if built.stages and built.target_decay is not None:
            faults.append(f"variants[{index}]: a target is averaged (target_decay) or renewed in stages, not both")
    return faults
