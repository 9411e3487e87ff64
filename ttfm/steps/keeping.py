"""How a training survives: its state is saved now and then, and when it is told to stop."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from ttfm.exits import GOES_ON, TRY_AGAIN, InterruptedTrainingError
from ttfm.files import sha256
from ttfm.steps.common import path_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ttfm.training.ranks import Ranks
    from ttfm.training.states import State

SAVE_EVERY, TRAIN_AT_MOST = "TTFM_SAVE_EVERY", "TTFM_TRAIN_AT_MOST"
"""Environment variables with the defaults of ``--save-every`` and ``--train-at-most``, for whole experiments."""
INTERVAL = 60.0
COST = 0.02
"""Largest share of the time that saving may take: after a save that took long the next one waits for longer."""
AGREED, SLOW = 10, 0.1
"""Steps after which several ranks agree on whether to stop; where one takes more seconds than this, after every one."""
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
INPUTS = ("teacher", "solution", "pairs", "trajectories", "schedules", "start", "images")
"""Arguments whose files decide what a training does."""
CODE = (
    *("data/**/*.py", "flow/*.py", "networks/*.py", "training/*.py", "evaluation/paired.py", "evaluation/checks.py"),
    *("losses/__init__.py", "losses/base.py", "registry.py", "seeds.py", "options.py", "devices.py"),
    *(f"steps/{name}.py" for name in ("common", "stored", "training", "student", "teacher")),
)
"""Source files that do, beside the loss's own."""


def keeping_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where, how often and until when a training keeps its state."""
    path_argument(
        parser, "state", "folder for states, from which an interrupted training goes on; none without it", False
    )
    parser.add_argument(
        "--save-every",
        type=float,
        metavar="SECONDS",
        help=f"least time between two states (default {INTERVAL:.0f}, or {SAVE_EVERY})",
    )
    parser.add_argument(
        "--train-at-most",
        type=float,
        metavar="SECONDS",
        help=f"keep the state and end with exit status {TRY_AGAIN} after this time (default: none, or {TRAIN_AT_MOST})",
    )


def spent_argument(parser: argparse.ArgumentParser) -> None:
    """Add the states of a training that is made use of."""
    path_argument(parser, "spent", "folder with the last state of that training, removed at the end", False)


def spent(runs: Sequence[argparse.Namespace]) -> list[Path]:
    """The states of trainings that are about to be made use of: whoever started that knows that they have ended."""
    from ttfm.training.states import files_of

    return [path for arguments in runs if arguments.spent for path in files_of(arguments.spent)]


class Keeper:
    """Saves states of a training, or of several that one process takes care of, and stops it in good order.

    As a context manager it takes over the signals SIGTERM, SIGUSR1 and SIGINT: the first of them ends the training
    after its current step, with its state kept; a second SIGINT ends the process at once.

    Args:
        trainings: of each, its arguments, with ``state``, ``save_every`` and ``train_at_most`` and the paths of
            :data:`INPUTS`, and the resolved config.
        device: where they train.
        ranks: the processes that train together; alone by default. The first of them saves.
    """

    def __init__(
        self, trainings: Sequence[tuple[argparse.Namespace, dict[str, Any]]], device: str, ranks: Ranks | None = None
    ):
        from ttfm.training.ranks import Ranks
        from ttfm.training.states import States

        arguments = trainings[0][0]
        folders = [getattr(each, "state", None) for each, _ in trainings]
        if getattr(arguments, "train_at_most", None) and not all(folders):
            raise ValueError("--train-at-most needs --state, the folder from which the next run goes on")
        self._count = len(trainings)
        self._ranks = ranks or Ranks()
        # Sums over other seeds at once, or over other ranks, have numbers that differ in their rounding.
        shared = {"together": self._count, "ranks": self._ranks.count}
        self.states = [
            States(folder, identity(each, config | shared, device))
            for folder, (each, config) in zip(folders, trainings, strict=True)
            if folder
        ]
        self._every = _seconds(getattr(arguments, "save_every", None), SAVE_EVERY) or INTERVAL
        limit = _seconds(getattr(arguments, "train_at_most", None), TRAIN_AT_MOST)
        # Clocks of the day may jump; these do not.
        self._end = time.monotonic() + limit if limit else float("inf")
        self._due = time.monotonic() + self._every
        self._device = device
        self._steps, self._agreed, self._looked = 0, 1, time.monotonic()
        # What there is of each training that all of them can go on from.
        self._whole: list[tuple[Any, ...]] = [()] * self._count
        self._full = False
        self._signal = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Without a place for states there is nothing to do but what signals do by themselves.
        for number in SIGNALS if self.states else ():
            self._before[number] = signal.signal(number, self._told)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _told(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def newest(self) -> list[State | None]:
        """The state that each training goes on from, if there is one."""
        if not self.states:
            return [None] * self._count
        # The first rank sets aside what is damaged; the others look when it has done so.
        found = self._newest() if self._ranks.rank == 0 else []
        for states, state in zip(self.states, found, strict=False):
            # One of some trainings only, whose steps are taken again.
            states.drop_after(state.step if state else -1)
        self._whole = [_mark(state) if state else () for state in found]
        self._ranks.wait()
        return found if self._ranks.rank == 0 else self._newest()

    def _newest(self) -> list[State | None]:
        if self._count == 1:
            return [self.states[0].newest()]
        kept = [list(states.whole()) for states in self.states]
        last = [states[0] if states else None for states in kept]
        if all(state is not None and state.numbers["alone"] for state in last):
            # Each trains by itself, whatever step the others have come to.
            return last
        for newest in kept[0]:
            # Those that train together are at the same step, and would get other numbers from states of different ones.
            # A process may die, or a disk fill up, between the states of two seeds.
            found = [next((state for state in states if state.step == newest.step), None) for states in kept]
            if None not in found:
                return found
        return [None] * self._count

    def after_step(self, state: Callable[[], list[State]]) -> None:
        """Save ``state()``, the state of each training, if it is time to.

        Raises:
            InterruptedTrainingError: if the training was told to stop or its time is up, after the state was saved.
        """
        if not self.states:
            return
        before = time.monotonic()
        told, over, due = bool(self._signal), before >= self._end, before >= self._due
        if self._ranks.count > 1:
            # All of them save and stop after the same step, or none does. To agree makes a GPU wait.
            self._steps += 1
            if self._steps < self._agreed:
                return
            slow = before - self._looked > SLOW * self._agreed
            told, over, due, slow = self._ranks.any([told, over, due, slow], self._device)
            self._steps, self._agreed, self._looked = 0, 1 if slow else AGREED, before
        # A disk that was full when the time was up is not tried again before the next state is due.
        if not (told or due or (over and not self._full)):
            return
        found, saved = self._save(state)
        # One of them may have been told to stop while it saved, and only the first knows whether there was room.
        told, self._full = self._ranks.any([bool(self._signal), not saved], self._device)
        after = time.monotonic()
        self._due = after + max(self._every, (after - before) / COST)
        step = min(each.step for each in found)
        by = self._signal or ("another rank" if told else "the time limit")
        if (told or over) and not self._full:
            raise InterruptedTrainingError(
                f"stopped by {by} after step {step}; the state is kept in {self.states[0].folder}, and {GOES_ON}"
            )
        if told:
            raise InterruptedTrainingError(f"stopped by {by} after step {step}; its state could not be saved")

    def keep(self, state: Callable[[], list[State]]) -> None:
        """Save ``state()``, the state of each training at its end, and drop all earlier ones."""
        if self.states and self._save(state)[1]:
            for states in self.states if self._ranks.rank == 0 else ():
                states.settle()

    def _save(self, state: Callable[[], list[State]]) -> tuple[list[State], bool]:
        """The state of each training, and whether all of them were saved by this rank, if that is its task."""
        # On every rank: it may find that a step was not finite, which ends them all.
        found = state()
        if self._ranks.rank:
            return found, True
        # Of trainings one after another only one has changed since the last time.
        marks = [_mark(each) for each in found]
        new = [mark != whole for mark, whole in zip(marks, self._whole, strict=True)]
        # Every one of them or none: earlier ones go when there are later ones to go on from.
        stored = [
            not changed or states.save(each, prune=False)
            for states, each, changed in zip(self.states, found, new, strict=True)
        ]
        saved = all(stored)
        for states, each, whole in zip(self.states, found, self._whole, strict=True):
            if saved:
                states.prune()
            elif whole[:1] != (each.step,):
                states.drop_after(each.step - 1)
        if saved:
            self._whole = marks
        return found, saved


def _mark(state: State) -> tuple[Any, ...]:
    """What a state's file is known by, its step first: one training has no two of them that differ and share it."""
    return state.step, state.numbers.get("status"), state.numbers.get("alone")


def identity(arguments: argparse.Namespace, config: dict[str, Any], device: str) -> str:
    """The sha256 of what decides a training's numbers: config, code, files that it reads, torch and kind of device."""
    import torch

    from ttfm.imports import with_imports
    from ttfm.losses import LOSSES
    from ttfm.registry import loss_files

    package, modules = Path(__file__).parents[1], config.get("loss_modules", [])
    own = with_imports(modules)
    code = [path for pattern in CODE for path in sorted(package.glob(pattern))]
    if loss := LOSSES.get(config.get("loss", {}).get("name", "")):
        code += [package.parent / name for name in loss_files(loss, modules) if name not in own]
    read: dict[str, str] = {}
    for name in INPUTS:
        if path := getattr(arguments, name, None):
            # A folder of images is named by the file that was written last and holds the others' sha256.
            read[name] = sha256(path / "about.json" if path.is_dir() else path)
    parts = {
        "config": config,
        "code": [sha256(path) for path in [*code, *map(Path, own)]],
        "files": read,
        "torch": torch.__version__,
        "device": device.partition(":")[0],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _seconds(given: float | None, variable: str) -> float | None:
    """A time in seconds from an argument or else the environment.

    Raises:
        ValueError: naming the variable, if it holds no positive number.
    """
    text = os.environ.get(variable, "")
    if given is None and text:
        try:
            given = float(text)
        except ValueError:
            given = -1.0
        if not given > 0:
            raise ValueError(f"environment variable {variable}: {text!r} is not a positive number of seconds")
    if given is not None and not given > 0:
        raise ValueError(f"--save-every and --train-at-most take positive numbers of seconds, not {given:g}")
    return given
