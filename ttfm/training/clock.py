"""What a second of training is."""

from __future__ import annotations

import time

import torch


def seconds(device: torch.device) -> float:
    """A clock for differences, in seconds.

    On a CPU it is the CPU time of the process, summed over its threads: other load on the machine does not lengthen
    it, and losses that trained at different moments stay comparable. On a GPU it is wall time: sums of differences are
    right wherever the caller has waited for the device.
    """
    return time.perf_counter() if device.type == "cuda" else time.process_time()
