"""Times measured in turns, so that a slow moment of the machine meets everything that is compared."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ttfm.training.clock import seconds

ROUNDS, REPEAT, WARM = 12, 3, 2
CALLS = (WARM + ROUNDS) * REPEAT
"""How often each piece of work is called, where nothing else is asked for."""


def in_turns(
    work: Mapping[str, Callable[[], Any]], device: str, rounds: int = ROUNDS, repeat: int = REPEAT, warm: int = WARM
) -> dict[str, list[float]]:
    """Seconds of one call of each piece of work, once a round: CPU time of this process, or wall time of a GPU.

    Args:
        work: what to call.
        device: "cpu" or "cuda".
        rounds: how often each is timed.
        repeat: calls per time.
        warm: rounds before the first that counts: first calls allocate and choose algorithms.
    """
    where = torch.device(device)
    found: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(warm + rounds):
        for name, call in work.items():
            wait(where)
            started = seconds(where)
            for _ in range(repeat):
                call()
            wait(where)
            if turn >= warm:
                found[name].append((seconds(where) - started) / repeat)
    return found


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratio(a: list[float], b: list[float]) -> float:
    """The median over rounds of a / b."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))
