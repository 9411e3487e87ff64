"""Kills at random moments, until the experiment has come to its end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.faults.bench import Bench, require
from tests.faults.workspace import LIMIT, Workspace

TARGETS = ("trainer", "job", "snakemake", "everything")
TRAINERS = ("teacher", "student")
CALLED = {"report": "page"}
"""Rules that are not called as their steps are."""


def kills(bench: Bench, target: str, within: tuple[float, float] = (0.05, 0.35)) -> Iterator[int]:
    """Kill a trainer, any job, Snakemake alone or all at once, at random moments, until the DAG has come to its end.

    They come after times between ``within``, in units of the undisturbed run's.

    Yields after every kill how many trainings it left with a state to go on from. At the end the tables must be those
    of the undisturbed run, nothing done twice, and every training gone on from a state at least as new as the newest
    that a kill left.
    """
    workspace = bench.workspace
    workspace.clear()
    finished: dict[Path, bytes] = {}
    left: dict[Path, int] = {}
    status = 1
    while status:
        run = workspace.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(timeout=bench.random.uniform(*within) * bench.span)
        found: list[int] = []
        while run.poll() is None and not (found := victims(workspace, run, target)):
            time.sleep(0.01)
        finished = workspace.finished() | finished
        chosen = found if target == "everything" else found and [bench.random.choice(found)]
        told, since = {pid: words_of(pid) for pid in chosen}, {pid: _unsaved(workspace, pid) for pid in chosen}
        hit = [pid for pid in chosen if kill(pid)]
        bench.lost += [seconds for pid in hit if (seconds := since[pid]) is not None]
        status = run.wait(timeout=LIMIT)
        require(hit or not status, f"the command failed by itself after kills of {target}: {end_of(workspace.log)}")
        require("--unlock" not in workspace.log.read_text(), f"a lock was left: {end_of(workspace.log)}")
        if hit and status and target in ("trainer", "job"):
            _named(told[hit[0]], workspace)
        unfinished = workspace.unfinished()
        left |= unfinished
        if hit:
            yield len(unfinished)
    for training, step in left.items():
        resumed = json.loads((training / "record.json").read_text())["resumed"]
        require(resumed and max(resumed) >= step, f"{training} had a state of step {step} and went on from {resumed}")
    bench.once(f"kills of {target}", finished)
    bench.unchanged(f"kills of {target}")


def words_of(pid: int) -> list[str]:
    """A process's command line; empty without the process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def _unsaved(workspace: Workspace, pid: int) -> float | None:
    """Seconds since a training kept its last state, or since it started; None for a process that is no training."""
    words = words_of(pid)
    if "--state" not in words:
        return None
    folders = list(
        itertools.takewhile(lambda word: word and not word.startswith("-"), words[words.index("--state") + 1 :])
    )
    kept = [path.stat().st_mtime for name in folders for path in (workspace.folder / name).glob("*/step-*.json")]
    with contextlib.suppress(psutil.NoSuchProcess):
        return time.time() - max([psutil.Process(pid).create_time(), *kept])
    return None


def _named(words: list[str], workspace: Workspace) -> None:
    """The log names the rule of a job that was killed, and the job's own log."""
    step = words[3] if len(words) > 3 else ""
    rule = CALLED.get(step, step.replace("-", "_"))
    said = rf"Error in rule {rule}\w*:\n(    .*\n)*?    log: results/faults/logs/\S+\.log"
    require(re.search(said, workspace.log.read_text()), f"that {step} was killed is not named: {end_of(workspace.log)}")


def end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def victims(workspace: Workspace, run: subprocess.Popen[bytes], target: str) -> list[int]:
    """Processes to choose from."""
    if target == "trainer":
        return [pid for step in TRAINERS for pid in workspace.jobs(step)]
    if target == "job":
        return workspace.jobs()
    return [run.pid] if target == "snakemake" else [run.pid, *workspace.jobs()]


def kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
