"""Planning on disk: the cached description of the registry, and the plan's files. Imports no torch.

Shared by the Snakefile and ``python -m ttfm plan``.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ttfm.experiment import ExperimentError, cannot_be_run, read_schema
from ttfm.files import read_json, write_json
from ttfm.imports import with_imports
from ttfm.published import read_published
from ttfm.resolve import Plan, resolve
from ttfm.watching import appeared, changed

PACKAGE = Path(__file__).parent
SCHEMAS = PACKAGE.parent / "workflow" / "schemas"
SCHEMA, PUBLISHED = SCHEMAS / "experiment.schema.yaml", SCHEMAS / "published.schema.yaml"
WATCHING = ("images", "latents")
"""Steps that read a folder outside the results: of images, or with an autoencoder."""
_DESCRIBED = ("losses", "networks", "data", "training")


def registry_description(results: Path, loss_modules: tuple[str, ...] = ()) -> dict[str, Any]:
    """What experiments can name, computed in a subprocess once per state of the sources and then read from a cache.

    Args:
        results: folder of all results; the cache lies in its subfolder ``.registry``.
        loss_modules: further Python files that define losses.

    Raises:
        FileNotFoundError: naming a loss module that does not exist.
        ValueError: with the subprocess's message, if a source cannot be imported.
    """
    arguments = [part for module in loss_modules for part in ("--loss-module", module)]
    return _cached(results, "describe", arguments, _state(loss_modules))


def impossible_combinations(resolved: Plan, results: Path) -> list[str]:
    """What the options' schemas cannot tell, found by building every network and loss once; cached like the registry.

    Losses of ``loss_modules`` take a step on the networks that they are to train.

    Args:
        resolved: the plan; only distinct entries are built.
        results: folder of all results.
    """
    parts: dict[str, Any] = {}
    seen: set[str] = set()
    for config in resolved.configs.values():
        problem, student = config.get("problem"), config.get("student")
        entries = {f"problems.{problem}.network": {"part": "network", "config": config.get("network")}}
        if student and isinstance(config["loss"], dict):
            stored = resolved.configs.get(f"{problem}/trajectories.json", {}).get("trajectories", {})
            loss = {"part": "loss", "config": config["loss"], "kept": stored.get("kept", 0)}
            loss["budgets"] = resolved.experiment["budgets"]
            if config["loss_modules"]:
                loss["network"] = config["network"]
            entries[f"students.{student} (on {problem})"] = loss
            entries[f"students.{student}.training (on {problem})"] = {"part": "training", "config": config["training"]}
        if config.get("evaluation", {}).get("histogram_samples"):
            entries[f"problems.{problem}.evaluation.histogram_samples"] = {"part": "grid", "config": config["data"]}
        if "trajectories" in config:
            entries[f"problems.{problem}.trajectories"] = {"part": "trajectories", "config": config["trajectories"]}
        for where, entry in entries.items():
            entry["shape"] = config.get("shape")
            key = json.dumps(entry, sort_keys=True)
            if entry["config"] and key not in seen:
                seen.add(key)
                parts[where] = entry
    modules = tuple(resolved.experiment["config"]["loss_modules"])
    listed = {"loss_modules": list(modules), "parts": parts}
    state = hashlib.sha256((_state(modules) + json.dumps(listed, sort_keys=True)).encode()).hexdigest()
    request = results / ".registry" / f"check-{state[:16]}.request.json"
    write_if_changed(request, listed)
    faults = _cached(results, "check", ["--config", str(request)], state)
    return [f"{where}: {message}" for where, message in faults.items()]


def _state(loss_modules: tuple[str, ...]) -> str:
    """A digest of all sources that decide what an experiment can name."""
    sources = [PACKAGE / "registry.py", PACKAGE / "options.py"]
    sources += [path for room in _DESCRIBED for path in sorted((PACKAGE / room).glob("*.py"))]
    digest = hashlib.sha256()
    for path in (*sources, *map(Path, with_imports(loss_modules))):
        if not path.is_file():
            raise FileNotFoundError(f"loss_modules: {path} does not exist")
        digest.update(f"{path}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _cached(results: Path, step: str, arguments: list[str], state: str) -> Any:
    """What ``step`` writes for ``arguments``; run in a subprocess, since planning itself imports no torch."""
    cached = results / ".registry" / f"{step}-{state[:16]}.json"
    if not cached.is_file():
        command = [sys.executable, "-m", "ttfm", step, "--out", str(cached), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            # The command line logs a user's mistake as one message; its time and level say nothing here.
            message = re.sub(r"^\S+ \S+ ERROR ", "", done.stderr.strip())
            raise ValueError(f"the experiment cannot be planned:\n{message}")
    return read_json(cached)


def plan(
    config: dict[str, Any],
    source: str,
    results: Path = Path("results"),
    write: bool = True,
    claim: Callable[[str], bool] | None = None,
) -> Plan:
    """Resolve an experiment and write its plan; files whose content would not change are left alone.

    Args:
        config: the experiment.
        source: its file, for messages.
        results: folder of all results.
        write: whether to write at all.
        claim: claims something by its name until this process ends, and says whether nobody else has.

    Raises:
        ttfm.experiment.ExperimentError: listing every fault of the experiment; or, before anything is written, saying
            that another run is at work on it whose plan would change.
    """
    modules = (config.get("loss_modules") if isinstance(config, dict) else None) or []
    good = isinstance(modules, list) and all(isinstance(module, str) for module in modules)
    registry = registry_description(results, tuple(modules) if good else ())
    resolved = resolve(config, registry, read_schema(SCHEMA), source, _published(config, source))
    if faults := impossible_combinations(resolved, results):
        raise ExperimentError(cannot_be_run(source, faults))
    name = resolved.experiment["name"]
    root = results / name
    files = {root / "experiment.json": resolved.experiment}
    files |= {root / "plan" / path: content for path, content in resolved.configs.items()}
    for path, content in resolved.configs.items():
        step = Path(path).stem
        if step in WATCHING:
            now = changed(root / content["problem"] / step / "record.json")
        elif "weights_of" in content:
            now = appeared(root / path, content["weights_of"], content["assets"])
        else:
            continue
        # Another content makes images, latents or weights anew; it stays as it is until there is something new again.
        mark = (root / "plan" / path).with_name(f"{step}-watched.json")
        if now or not mark.is_file():
            files[mark] = {"listing": now}
    alone = claim is None or not write or claim(f"alive-{name}")
    different = [path for path, content in files.items() if not _holds(path, content)] if write else []
    if not alone and any(path.exists() for path in different):
        raise ExperimentError(
            f"{source}: another run is at work on {name!r}, and what it works by would change; wait until it has ended,"
            " or give the edited experiment another name"
        )
    for path in different:
        # The next plan writes a damaged one anew; waiting for the disk 10,000 times would take a minute.
        write_json(path, files[path], flush=False)
    return resolved


def _published(config: Any, source: str) -> dict[str, Any]:
    """Figures that papers print, by problem; what is wrong with the experiment itself is not said here."""
    problems = config.get("problems") if isinstance(config, dict) else None
    found, faults = {}, []
    for name, problem in problems.items() if isinstance(problems, dict) else ():
        path = problem.get("published") if isinstance(problem, dict) else None
        if isinstance(path, str):
            try:
                found[name] = read_published(path, read_schema(PUBLISHED))
            except ExperimentError as error:
                faults += [f"problems.{name}.{fault}" for fault in str(error).splitlines()]
    if faults:
        raise ExperimentError(cannot_be_run(source, faults))
    return found


def write_if_changed(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, unless the file holds it already: its date stays."""
    if not _holds(path, value):
        write_json(path, value)


def _holds(path: Path, value: Any) -> bool:
    """Whether a file holds ``value`` as JSON."""
    try:
        return bool(read_json(path) == json.loads(json.dumps(value)))
    except (FileNotFoundError, ValueError):
        return False
