"""Files as every step writes them: complete or not at all, in formats that never execute code when read."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_SEAL = b"sha256="


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place only when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp creates private files; results are meant to be shared like any other file of the user.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` atomically as UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` atomically as indented JSON with a final newline; NaN and infinities are refused.

    Raises:
        ValueError: if a float in ``value`` is not finite (JSON has no such number).
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: naming the file, if it is not valid JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); delete the file and run the same command again") from error


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays atomically as ``.npz``, sealed: the zip comment at its end is the sha256 of all before it.

    No pickle is involved: object arrays are refused by the reader.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = _SEAL + b"0" * 64
    content = buffer.getvalue()[:-64]
    with replacing(path) as temporary:
        temporary.write_bytes(content + hashlib.sha256(content).hexdigest().encode())


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read all arrays of an ``.npz`` that :func:`write_arrays` wrote, never unpickling.

    Raises:
        ValueError: naming the file with the expected and the found sha256, if it is damaged or truncated.
    """
    content = Path(path).read_bytes()
    body, expected = content[:-64], content[-64:].decode("ascii", "replace")
    found = hashlib.sha256(body).hexdigest()
    again = "delete it and run the same command again"
    if not body.endswith(_SEAL):
        raise ValueError(
            f"{path}: damaged array file: expected a sha256 at its end and found none, so it was cut off or written "
            f"by another program (sha256 of what is there: {hashlib.sha256(content).hexdigest()}); {again}"
        )
    if found != expected:
        raise ValueError(f"{path}: damaged array file: expected sha256 {expected}, found {found}; {again}")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def sha256(path: str | Path) -> str:
    """The sha256 of a file's content, in lower-case hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
