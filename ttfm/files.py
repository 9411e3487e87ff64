"""Files as every step writes them: complete or not at all, in formats that never execute code when read."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import math
import os
import socket
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_SEAL, _DIGITS = b"sha256=", 64


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
def replacing(path: str | Path, *, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place only when the block ends without an error.

    By then it is on the disk, unless ``flush`` is false: for what is made again if a machine's failure damages it.

    What processes of this machine that were killed had begun to write in its place is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its name says whose it is.
    prefix = f".{path.stem}.{socket.gethostname()}-"
    for left in path.parent.glob(f"{glob.escape(prefix)}*{glob.escape(path.suffix)}"):
        pid = left.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not alive(int(pid)):
            left.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{prefix}{os.getpid()}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp creates private files; results are meant to be shared like any other file of the user.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        if flush:
            _flush(temporary)
        temporary.replace(path)
        if flush:
            _flush(path.parent)
    except OSError as error:
        # A full disk does not say what it had no room for.
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def alive(pid: int) -> bool:
    """Whether there is such a process on this machine, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _flush(path: Path) -> None:
    """Have the content of a file, or the names in a folder, on the disk before anything else goes on.

    Without it a machine that fails may have renamed what it never wrote.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems have no such thing for folders; a full disk is no such case.
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str, *, flush: bool = True) -> None:
    """Write ``text`` atomically as UTF-8; ``flush`` as of :func:`replacing`."""
    with replacing(path, flush=flush) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any, *, flush: bool = True) -> None:
    """Write ``value`` atomically as indented JSON with a final newline; NaN and infinities are refused.

    Args:
        path: the file.
        value: its content.
        flush: as of :func:`replacing`.

    Raises:
        ValueError: if a float in ``value`` is not finite (JSON has no such number).
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n", flush=flush)


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

    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.comment = _SEAL + b"0" * _DIGITS
        digest, _, _ = _sealed(temporary)
        with temporary.open("r+b") as file:
            file.seek(-_DIGITS, os.SEEK_END)
            file.write(digest.encode())


def _sealed(path: str | Path) -> tuple[str, str, bool]:
    """The sha256 of a file without its last digits, these digits, and whether the seal stands before them."""
    end, found = max(0, Path(path).stat().st_size - _DIGITS), hashlib.sha256()
    tail = b""
    with Path(path).open("rb") as file:
        while piece := file.read(min(2**20, end - file.tell())):
            found.update(piece)
            tail = (tail + piece)[-len(_SEAL) :]
        return found.hexdigest(), file.read().decode("ascii", "replace"), tail == _SEAL


def read_arrays(path: str | Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read arrays of an ``.npz`` that :func:`write_arrays` wrote, never unpickling.

    Args:
        path: the file.
        names: those to read, of those there are; all by default.

    Raises:
        DamagedResult: naming the file with the expected and the found sha256, if it is damaged or truncated.
    """
    import numpy as np

    _require_seal(path)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if names is None or name in names}


def _require_seal(path: str | Path) -> None:
    found, expected, sealed = _sealed(path)
    if not sealed:
        raise DamagedResult(
            path,
            "array file",
            "expected a sha256 at its end and found none, so it was cut off or written by another program (sha256 of "
            f"what is there: {sha256(path)})",
        )
    if found != expected:
        raise DamagedResult(path, "array file", f"expected sha256 {expected}, found {found}")


class Spool:
    """An array that is put together piece by piece on disk and mapped from there: it need not fit into memory.

    Its file has no name and is gone with the array, whatever happens. Used as a context, which ends its writing.

    Args:
        folder: on the disk that is to take it.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.file.close()

    def add(self, piece: np.ndarray) -> None:
        """Append the entries of ``piece``."""
        self.file.write(piece.tobytes())

    def array(self, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
        """What was appended, read-only."""
        import numpy as np

        self.file.flush()
        # An empty file cannot be mapped.
        return np.memmap(self.file, dtype, "r", shape=shape) if math.prod(shape) else np.empty(shape, dtype)


def map_array(path: str | Path, name: str, folder: Path) -> np.ndarray | None:
    """One array of an ``.npz`` of :func:`write_arrays`, unpacked to disk and mapped; None if there is none of the name.

    Args:
        path: the file.
        name: the array's.
        folder: on the disk that is to take it, see :class:`Spool`.

    Raises:
        DamagedResult: as :func:`read_arrays`.
    """
    import numpy as np

    _require_seal(path)
    with zipfile.ZipFile(path) as archive, Spool(folder) as spool:
        if f"{name}.npy" not in archive.namelist():
            return None
        with archive.open(f"{name}.npy") as member:
            np.lib.format.read_magic(member)
            # What is written here has a header of the first version, and rows one after another.
            shape, _, dtype = np.lib.format.read_array_header_1_0(member)
            while piece := member.read(2**20):
                spool.file.write(piece)
        return spool.array(dtype, shape)


def sha256(path: str | Path) -> str:
    """The sha256 of a file's content, in lower-case hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
