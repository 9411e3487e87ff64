"""Which files of a user's a Python file of theirs imports, found without running it. Imports no torch."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent


def with_imports(files: Iterable[str | Path]) -> list[str]:
    """Python files as they were given, and after them the files that these import, and what those import in turn.

    Of these only what lies beside the file that was given or below the working folder, for that is what a user edits;
    not this package. A file that lies below the working folder is named relative to it. What is imported by a name that
    is computed is not seen.
    """
    given = [str(file) for file in files]
    known = {Path(file).resolve() for file in given}
    found: list[str] = []
    for file in given:
        roots = list(dict.fromkeys((Path(file).resolve().parent, Path.cwd())))
        waiting = [Path(file).resolve()]
        while waiting:
            for path in _imported(waiting.pop(), roots):
                if path not in known and not path.is_relative_to(PACKAGE):
                    known.add(path)
                    waiting.append(path)
                    found.append(_named(path))
    return given + sorted(found)


def _named(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _imported(path: Path, roots: list[Path]) -> Iterator[Path]:
    """The files below ``roots`` that one file imports."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        # Whoever runs it says what is wrong with it.
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                for root in roots:
                    yield from _files(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            # One dot is the file's own folder, another each the folder above.
            places = [path.parents[node.level - 1]] if 0 < node.level <= len(path.parents) else roots
            words = node.module.split(".") if node.module else []
            for place in places:
                for alias in node.names:
                    yield from _files(place, [*words, alias.name])


def _files(root: Path, words: list[str]) -> Iterator[Path]:
    """The files that importing ``a.b.c`` runs: of its packages, and of the last word if it is a module too."""
    for word in words:
        root = root / word
        for file in (root.with_name(f"{word}.py"), root / "__init__.py"):
            if file.is_file():
                yield file.resolve()
