"""Class labels of the samples that a network is asked about, bound around the call and not passed through it.

Losses, solvers and maps call ``network(s, t, x)`` and need not know of labels. Whoever knows them binds those of the
batch; a network with classes looks up its own. Whoever asks about other rows than the whole batch, a part of it or
several copies, says so with :func:`rows`; asking about another number of samples than is bound is an error, so that
labels cannot silently shift. Without labels bound, every sample has the null class: the unconditional model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

_bound: ContextVar[Tensor | None] = ContextVar("labels", default=None)
_repeated: ContextVar[bool] = ContextVar("labels repeat", default=False)


class LabelsError(RuntimeError):
    """A network was asked about another number of samples than labels are bound for."""


@contextmanager
def bound(labels: Tensor | None, repeated: bool = False) -> Iterator[None]:
    """Within it the samples have these labels.

    Args:
        labels: one class per sample, integers ``(B,)``; the number of classes stands for the null class. None: the null
            class for any number of samples.
        repeated: whether networks may be asked about the B samples several times over in one call, at many times say.
    """
    token, mode = _bound.set(labels), _repeated.set(repeated)
    try:
        yield
    finally:
        _bound.reset(token)
        _repeated.reset(mode)


@contextmanager
def rows(*selections: Any) -> Iterator[None]:
    """Within it the samples are these rows of those bound outside, one selection after the other.

    Args:
        selections: slices or index tensors into the samples bound outside; ``slice(None)`` is all of them.
    """
    labels = _bound.get()
    with bound(None if labels is None else torch.cat([labels[selection] for selection in selections])):
        yield


def current(count: int) -> Tensor | None:
    """The labels bound for ``count`` samples, ``(count,)``; None where there are none.

    Raises:
        LabelsError: if labels are bound for another number of samples.
    """
    labels = _bound.get()
    if labels is not None and _repeated.get() and count % len(labels) == 0:
        return labels.repeat(count // len(labels))
    if labels is not None and len(labels) != count:
        raise LabelsError(
            f"labels are bound for {len(labels)} samples and a network is asked about {count}; a loss that asks about "
            "a part of the batch, or several copies, names their rows: with ttfm.flow.labels.rows(...)"
        )
    return labels
