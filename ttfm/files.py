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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_SEAL = b"sha256="


class DamagedResult(ValueError):
    """A file among the results is not what a step wrote.

    Args:
        path: the file.
        what: what it holds.
        detail: what was expected and what was found.

    Attributes:
        path: the file.
    """

    def __init__(self, path: str | Path, what: str, detail: str):
        super().__init__(f"{path}: damaged {what}: {detail}")
        self.path = Path(path)


def set_aside(path: Path) -> str:
    """Rename a damaged result, so that a workflow makes it anew.

    Returns:
        What was done and what to do now, in words.
    """
    aside = path.with_name(f"damaged-{path.name}")
    try:
        path.replace(aside)
    except OSError as error:
        return f"delete it ({error}) and run the same command again"
    return f"set aside as {aside.name}; run the same command again, and it is made anew"


def require_content(path: str | Path, expected: str, what: str) -> None:
    """See to it that a file is the one that was written.

    Raises:
        DamagedResult: with the expected and the found sha256, if it is not.
    """
    if (found := sha256(path)) != expected:
        raise DamagedResult(path, what, f"expected sha256 {expected}, found {found}")


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
        DamagedResult: naming the file, if it is not valid JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedResult(path, "file", f"not valid JSON ({error})") from error


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays atomically as ``.npz``, sealed: the zip comment at its end is the sha256 of all before it.

    No pickle is involved: object arrays are refused by the reader.
    """
    import numpy as np

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
        DamagedResult: naming the file with the expected and the found sha256, if it is damaged or truncated.
    """
    import numpy as np

    content = Path(path).read_bytes()
    body, expected = content[:-64], content[-64:].decode("ascii", "replace")
    found = hashlib.sha256(body).hexdigest()
    if not body.endswith(_SEAL):
        raise DamagedResult(
            path,
            "array file",
            "expected a sha256 at its end and found none, so it was cut off or written by another program (sha256 of "
            f"what is there: {hashlib.sha256(content).hexdigest()})",
        )
    if found != expected:
        raise DamagedResult(path, "array file", f"expected sha256 {expected}, found {found}")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def sha256(path: str | Path) -> str:
    """The sha256 of a file's content, in lower-case hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
