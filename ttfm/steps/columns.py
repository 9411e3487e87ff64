"""Columns of the tables that steps write."""

from __future__ import annotations


def _columns(text: str) -> list[str]:
    return text.split()


SNAPSHOT_COLUMNS = _columns(
    "experiment problem student loss seed iteration trained_seconds average steps metric value N split extractor "
    "status reason commit device"
)
MAP_COLUMNS = _columns("problem student seed metric s t value")
METRIC_COLUMNS = _columns(
    "experiment problem student loss seed steps metric value N split extractor status reason commit device"
)
TIMING_COLUMNS = _columns(
    "experiment problem student loss seconds_per_step relative repeats status reason commit device"
)
COST_COLUMNS = _columns(
    "experiment problem student loss seed iterations batch seconds seconds_per_step peak_memory_mb "
    "forward backward jvp teacher status reason commit device"
)
