"""States of a training on disk: from the newest one it goes on as if it had never been interrupted."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ttfm.files import replacing, sha256, write_json

log = logging.getLogger("ttfm")

KEPT = 2
"""States that are kept: should the newest be damaged, the one before it serves."""
BEGUN = (".step-*", ".tmp*")
"""Files that a process leaves which dies while it writes: ours, and what safetensors writes before it is renamed."""


@dataclass(frozen=True)
class State:
    """What a training must know to go on.

    Attributes:
        step: training steps done.
        tensors: weights, averages, moments: whatever is a tensor.
        numbers: whatever JSON holds.
    """

    step: int
    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


class States:
    """The states of one training, in a folder of its own.

    They lie in a subfolder that is named after the identity: states of another one, of an edited configuration say,
    are left alone until this training ends; its own last one is kept until it has been scored. A state is two files:
    its tensors (safetensors) and, written after them, its numbers with the sha256 of the tensors and the training's
    identity (JSON). Without the second file there is no state, so that one which was being written when the process
    died does not count.

    Args:
        folder: where they lie; made when the first one is saved.
        identity: names what decides the training's numbers; states of another identity are never used.
    """

    def __init__(self, folder: Path, identity: str):
        self.root = folder
        self.folder = folder / hashlib.sha256(identity.encode()).hexdigest()[:16]
        self.identity = identity

    def save(self, state: State, prune: bool = True) -> bool:
        """Store a state and, to ``prune``, drop all but the newest :data:`KEPT`.

        Returns:
            Whether it was stored. A disk that is full is a warning, not the end of a training.
        """
        stem = self.folder / f"step-{state.step:09d}"
        tensors = {name: value.detach().cpu().contiguous() for name, value in state.tensors.items()}
        try:
            with replacing(stem.with_suffix(".safetensors")) as temporary:
                save_file(tensors, temporary)
                digest = sha256(temporary)
            about = {"identity": self.identity, "sha256": digest, "step": state.step, "numbers": state.numbers}
            content = json.dumps(about, sort_keys=True)
            write_json(stem.with_suffix(".json"), about | {"seal": _seal(content)})
        except (OSError, SafetensorError) as error:
            log.warning(
                "%s: the state of step %d could not be saved (%s); the training goes on", stem, state.step, error
            )
            return False
        if prune:
            self.prune()
        return True

    def prune(self) -> None:
        """Drop all but the newest :data:`KEPT`."""
        for path in sorted(self.folder.glob("step-*.json"))[:-KEPT]:
            _drop(path)

    def drop_after(self, step: int) -> None:
        """Drop the states of later steps: what goes on from this one must not be taken for older than they are."""
        for path in self.folder.glob("step-*.json"):
            if int(path.stem.partition("-")[2]) > step:
                _drop(path)

    def newest(self) -> State | None:
        """The newest of :meth:`whole`; None without one."""
        return next(self.whole(), None)

    def whole(self) -> Iterator[State]:
        """The states that are whole and of this training, the newest first.

        Files that are damaged are set aside, with a message. Only for the one process that trains: what another that
        was killed has left half-written is removed.

        Raises:
            OSError: naming the file, if it could not be read; what it holds may be good.
        """
        self._sweep()
        any_whole = False
        for path in sorted(self.folder.glob("step-*.json"), reverse=True):
            try:
                about = json.loads(path.read_text(encoding="utf-8"))
                seal = about.pop("seal")
                if seal != _seal(json.dumps(about, sort_keys=True)):
                    raise ValueError(f"expected sha256 {seal} of its numbers, found another")
                if about["identity"] != self.identity:
                    raise ValueError("it is of another training")
                tensors = path.with_suffix(".safetensors")
                if (found := sha256(tensors)) != about["sha256"]:
                    raise ValueError(f"expected sha256 {about['sha256']} of its tensors, found {found}")
                state = State(about["step"], load_file(tensors, device="cpu"), about["numbers"])
            except (FileNotFoundError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
                _set_aside(path, error)
            except OSError as error:
                # The disk, or the way to it, may be well again in a minute.
                raise OSError(
                    error.errno,
                    f"{error.strerror or error}; this state is left as it is, and the same command tries again",
                    str(path),
                ) from error
            else:
                any_whole = True
                yield state
        if any_whole:
            return
        if others := [path for path in self.root.glob("*/step-*.json") if path.parent != self.folder]:
            log.warning(
                "%s: %d states of a training with another configuration, code, data or teacher, which cannot be gone on"
                " with; they are kept until this training ends",
                self.root,
                len(others),
            )

    def settle(self) -> None:
        """Remove all states but the newest, those of other identities too; what was set aside stays."""
        last = max(self.folder.glob("step-*.json"), default=None)
        kept = {last, last.with_suffix(".safetensors")} if last else set()
        remove(path for path in files_of(self.root) if path not in kept)

    def _sweep(self) -> None:
        """Remove what a process left that died while it wrote."""
        for pattern in BEGUN:
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
        for path in self.folder.glob("step-*.safetensors"):
            if not path.with_suffix(".json").exists():
                path.unlink(missing_ok=True)


def files_of(root: Path) -> list[Path]:
    """All files of a training's states but what was set aside, a state's numbers before its tensors."""
    return sorted(path for pattern in ("step-*", *BEGUN) for path in root.glob(f"*/{pattern}"))


def remove(files: Iterable[Path]) -> None:
    """Remove such files, and folders that hold nothing else; what another process has removed is no mistake."""
    for path in files:
        path.unlink(missing_ok=True)
        for folder in (path.parent, path.parent.parent):
            # Something else lies there, or another process was faster.
            with suppress(OSError):
                folder.rmdir()


def _seal(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _drop(path: Path) -> None:
    # First the file without which there is no state.
    path.unlink(missing_ok=True)
    path.with_suffix(".safetensors").unlink(missing_ok=True)


def _set_aside(path: Path, error: Exception) -> None:
    for file in (path, path.with_suffix(".safetensors")):
        if file.exists():
            file.replace(file.with_name(f"damaged-{file.name}"))
    log.warning(
        "%s: damaged state (%s), set aside as damaged-%s; the one before it, if there is one, is used",
        path,
        error,
        path.name,
    )
