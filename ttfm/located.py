"""Where in its file an experiment is at fault."""

from __future__ import annotations

import re
from pathlib import Path

import yaml


def located(source: str, faults: list[str]) -> list[str]:
    """Each fault with the line at which its key stands, or the nearest key above it that is written out.

    Args:
        source: the experiment's file, or several, of which later ones replace what earlier ones say, after commas.
        faults: as ``problems.ring.network.width: ...``; what follows the key in brackets is no part of it.

    Returns:
        The faults, those whose key no file has as they were.
    """
    names = source.split(", ")
    files = [(name, lines) for name in reversed(names) if (lines := _lines(name))]
    return [_where(files, len(names) > 1, fault) + fault for fault in faults]


def _where(files: list[tuple[str, dict[str, int]]], several: bool, fault: str) -> str:
    key = re.split(r": | \(", fault, maxsplit=1)[0]
    if unknown := re.search(r": unknown key \('([^']*)'", fault):
        key = f"{key}.{unknown[1]}".removeprefix("experiment.")
    while key:
        for name, lines in files:
            if key in lines:
                return f"{name}, line {lines[key]}: " if several else f"line {lines[key]}: "
        key = key.rpartition(".")[0]
    return ""


def _lines(name: str) -> dict[str, int]:
    """The line, from 1, of every key in a YAML file; none where it cannot be read."""
    found: dict[str, int] = {}

    def walk(node: yaml.Node | None, above: str) -> None:
        if isinstance(node, yaml.MappingNode):
            children = [(key.value, key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            children = [(index, value, value) for index, value in enumerate(node.value)]
        else:
            return
        for key, at, value in children:
            path = f"{above}{key}"
            found[path] = at.start_mark.line + 1
            walk(value, f"{path}.")

    try:
        walk(yaml.compose(Path(name).read_text(encoding="utf-8"), yaml.SafeLoader), "")
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return found
