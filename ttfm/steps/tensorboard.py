"""TensorBoard event files of a training, for those who have TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol


class Writer(Protocol):
    """Where scalars go."""

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Note one number of one step."""


class _Nowhere:
    def add_scalar(self, name: str, value: float, step: int) -> None:
        pass


@contextmanager
def event_files(folder: Path | None) -> Iterator[Writer]:
    """A writer of event files in ``folder``; of nothing, where that is None.

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
            "--tensorboard: the package tensorboard is not installed; pip install 'ttfm[tensorboard]', or leave it out"
        ) from None
    with SummaryWriter(str(folder)) as writer:
        yield writer
