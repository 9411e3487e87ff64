"""Planning on disk: the cached description of the registry, and the plan's files. Imports no torch.

Shared by the Snakefile and ``python -m ttfm plan``.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ttfm.experiment import Plan, read_schema, resolve
from ttfm.files import read_json, write_json

PACKAGE = Path(__file__).parent
SCHEMA = PACKAGE.parent / "workflow" / "schemas" / "experiment.schema.yaml"
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
    sources = [PACKAGE / "registry.py", PACKAGE / "options.py"]
    sources += [path for room in _DESCRIBED for path in sorted((PACKAGE / room).glob("*.py"))]
    digest = hashlib.sha256()
    for path in (*sources, *map(Path, loss_modules)):
        if not path.is_file():
            raise FileNotFoundError(f"loss_modules: {path} does not exist")
        digest.update(path.read_bytes() + b"\0")
    cached = results / ".registry" / f"{digest.hexdigest()[:16]}.json"
    if not cached.is_file():
        command = [sys.executable, "-m", "ttfm", "describe", "--out", str(cached)]
        command += [part for module in loss_modules for part in ("--loss-module", module)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"the registry cannot be read:\n{done.stderr.strip()}")
    return read_json(cached)


def plan(config: dict[str, Any], source: str, results: Path = Path("results")) -> Plan:
    """Resolve an experiment and write its plan; files whose content would not change are left alone.

    Raises:
        ttfm.experiment.ExperimentError: listing every fault of the experiment.
    """
    modules = (config.get("loss_modules") if isinstance(config, dict) else None) or []
    good = isinstance(modules, list) and all(isinstance(module, str) for module in modules)
    registry = registry_description(results, tuple(modules) if good else ())
    resolved = resolve(config, registry, read_schema(SCHEMA), source)
    root = results / resolved.experiment["name"]
    _write_if_changed(root / "experiment.json", resolved.experiment)
    for path, content in resolved.configs.items():
        _write_if_changed(root / "plan" / path, content)
    return resolved


def _write_if_changed(path: Path, value: Any) -> None:
    if path.is_file():
        try:
            if read_json(path) == json.loads(json.dumps(value)):
                return
        except ValueError:
            pass
    write_json(path, value)
