"""A small experiment in a folder of its own, whose runs can be disturbed."""

from __future__ import annotations

import base64
import glob
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.workflow.project import POINTS, checkout, surroundings, write

TIMED = ("cost", "methods")
"""Tables that hold times, which no two runs share."""
LIMIT = 900
"""Seconds after which a run counts as lost."""


SEEDS, TOGETHER = [0, 1, 2], 2
"""Two seeds that one process trains at once, and one that has a process of its own."""


def experiment(iterations: int) -> dict:
    """One loss and three seeds on the ring, trained for so long that a fault can hit them."""
    ring = POINTS["problems"]["ring"]
    ring = ring | {"training": ring["training"] | {"iterations": iterations, "probe_every": 500}}
    about = {"students": {"itvm": {"loss": "itvm"}}, "problems": {"ring": ring}}
    return POINTS | {"name": "faults", "seeds": SEEDS, "seeds_together": TOGETHER} | about


class Workspace:
    """A copy of the project in ``folder``, with the experiment's results below it; 1,000 iterations take seconds."""

    def __init__(self, folder: Path, iterations: int = 1_500):
        self.folder = checkout(folder).resolve()
        self.arguments = write(folder, experiment(iterations))
        self.results = folder / "results" / "faults"
        self.page = folder / "report" / "faults" / "index.html"
        self.log = folder / "log"

    def clear(self) -> None:
        """Forget everything that was computed."""
        for path in (self.folder / "results", self.folder / "report", self.folder / ".snakemake"):
            for entry in path.iterdir() if path.is_dir() else ():
                # The folder itself may be a mount point.
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def start(self, log: Path | None = None, **more: str) -> subprocess.Popen[bytes]:
        """The command, in a process group of its own, with ``more`` variables; states are kept five times a second."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *self.arguments]
        environment = surroundings(self.folder) | {"TTFM_SAVE_EVERY": "0.2"} | more
        with (log or self.log).open("w") as stream:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=stream, stderr=stream, start_new_session=True
            )

    def run(self) -> tuple[int, str]:
        """Exit status and output of the command."""
        run = self.start()
        try:
            status = run.wait(timeout=LIMIT)
        finally:
            if run.poll() is None:
                self.end(run)
        return status, self.log.read_text(errors="replace")

    def tables(self) -> dict[str, bytes]:
        """The content of every table that holds no times."""
        found = [*self.found("metrics.csv"), *self.found("tables/*.csv")]
        return {path.name: path.read_bytes() for path in found if path.stem not in TIMED}

    def found(self, pattern: str) -> list[Path]:
        """What lies in the results, whose folders may come and go meanwhile (pathlib's own glob fails at that)."""
        paths = glob.glob(pattern, root_dir=self.results, recursive=True, include_hidden=True)  # noqa: PTH207
        return [self.results / path for path in paths]

    def finished(self) -> dict[Path, bytes]:
        """The records, which hold times, of all jobs that Snakemake knows to have come to their end."""
        found = {}
        for path in self.found("**/*.json"):
            # Of a job that was left running when Snakemake was killed it knows nothing, and does it again.
            known = base64.urlsafe_b64encode(str(path.relative_to(self.folder)).encode()).decode()
            noted, begun = (self.folder / ".snakemake" / name / known for name in ("metadata", "incomplete"))
            if noted.is_file() and not begun.exists():
                found[path] = path.read_bytes()
        return found

    def unfinished(self) -> dict[Path, int]:
        """The newest step that there are whole states of, by the folders of trainings that have left no record."""
        found = {}
        for names in (
            ["teacher"],
            *([f"itvm/{seed}" for seed in part] for part in (SEEDS[:TOGETHER], SEEDS[TOGETHER:])),
        ):
            folders = [self.results / "ring" / name for name in names]
            kept = [
                {int(path.stem.split("-")[1]) for path in self.found(f"ring/{name}/state/*/step-*.json")}
                for name in names
            ]
            if whole := set.intersection(*kept):
                found |= {at: max(whole) for at in folders if not (at / "record.json").exists()}
        return found

    def jobs(self, step: str = "") -> list[int]:
        """Processes that run a step of this folder, all steps or one of them."""
        return self._processes(lambda words: words[1:3] == [b"-m", b"ttfm"] and step.encode() in (b"", *words[3:4]))

    def _processes(self, wanted: Callable[[list[bytes]], bool]) -> list[int]:
        """Living processes at work in this folder whose words on the command line are wanted."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if wanted(words) and (entry / "cwd").readlink() == self.folder:
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def end(self, run: subprocess.Popen[bytes]) -> None:
        """Kill what is left of a run, orphans of it too, and wait until they are gone."""
        with suppress(ProcessLookupError):
            os.kill(run.pid, signal.SIGKILL)
        run.wait()
        self.end_all()

    def end_all(self) -> None:
        """Kill every Snakemake and every job that works in this folder, and wait until they are gone."""
        while found := [*self.jobs(), *self._processes(lambda words: words[1:3] == [b"-m", b"snakemake"])]:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def wait_until(condition, run: subprocess.Popen[bytes] | None = None, seconds: float = LIMIT) -> bool:
    """Whether ``condition()`` came true while ``run`` was alive."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        if run is not None and run.poll() is not None:
            return False
        time.sleep(0.01)
    return False
