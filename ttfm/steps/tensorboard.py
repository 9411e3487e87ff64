"""TensorBoard event files of a training, for those who have TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol


class Writer(Protocol):
    """Where scalars go."""

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Note one number of one step."""


class _Nowhere:
    def add_scalar(self, name: str, value: float, step: int) -> None:
        pass


FOLDER = "TTFM_TENSORBOARD"
"""Environment variable with a folder for the event files of all trainings of a workflow, each in one of its own."""


def folder_of(given: Path | None, config: dict[str, Any]) -> Path | None:
    """Where a training's event files go: the folder given, or its own below :data:`FOLDER`, or nowhere."""
    if given or not (root := os.environ.get(FOLDER)):
        return given
    who = (str(config[key]) for key in ("experiment", "problem", "student", "seed") if key in config)
    return Path(root, *who)


@contextmanager
def event_files(folder: Path | None, done: int = 0) -> Iterator[Writer]:
    """A writer of event files in ``folder``; of nothing, where that is None.

    Args:
        folder: where they go.
        done: steps that the training goes on from; what an interrupted one wrote of later ones does not count.

    Raises:
        ValueError: saying what to install, if TensorBoard is not there.
    """
    if folder is None:
        yield _Nowhere()
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            "--tensorboard or TTFM_TENSORBOARD: the package tensorboard is not installed; pip install"
            " -e '.[tensorboard]', or leave it out"
        ) from None
    with SummaryWriter(str(folder), purge_step=done + 1 if done else None) as writer:
        yield writer
