"""The faults: each is injected once, and says whether all was as it should be afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.faults.bench import Bench, Skipped, require
from tests.faults.killing import end_of, kill, words_of
from tests.faults.workspace import LIMIT, TOGETHER, Workspace, wait_until
from ttfm.exits import GOES_ON

DEAD = r"terminate called|Fatal Python error|memory allocation of \d+ bytes failed|died with <Signals\.SIG(SEGV|BUS)"
"""What is said where memory runs out and Python is not told: by a library that ends the process, or by Snakemake where
the system did, because the stack could not grow."""
OUT_OF_MEMORY = f"(?i)cannot allocate memory|MemoryError|bad_alloc|failed to map segment|start new thread|{DEAD}"
"""What is said where memory runs out before a step can say anything, or where what it calls does not let it."""
CLOCK = """\
import os, time

true, jumped, hours = time.time, os.environ["CLOCK_JUMPED"], float(os.environ["CLOCK_HOURS"])
time.time = lambda: true() + (3600 * hours if os.path.exists(jumped) else 0)
"""
"""A ``sitecustomize`` with which every Python process sees the wall clock jump once a file is there."""


def out_of_memory(bench: Bench) -> None:
    """A trainer may not allocate any more: while it starts, when it may end before it can speak, or while it trains."""
    workspace = bench.workspace
    workspace.clear()
    for training in (False, True):
        run = workspace.start()
        found: list[int] = []
        require(wait_until(lambda found=found: found.extend(workspace.jobs("student")) or found, run), "no student")
        if training:
            kept = [Path(word) for word in words_of(found[0]) if word.endswith("/state")]
            saved = lambda kept=kept: all(any((workspace.folder / path).glob("*/step-*.json")) for path in kept)  # noqa: E731
            require(wait_until(saved, run), "no state")
        else:
            time.sleep(bench.random.uniform(0.1, 1))
        try:
            resource.prlimit(found[0], resource.RLIMIT_AS, (2**20, 2**20))
        except (ProcessLookupError, PermissionError) as error:
            workspace.end(run)
            raise Skipped(str(error)) from None
        require(run.wait(timeout=LIMIT) != 0, "a trainer without memory came to its end")
        output = workspace.log.read_text(errors="replace")
        require(re.search(r"Error in rule student\w*:", output), f"no student failed: {output[-2000:]}")
        said = "out of memory on the host in the step 'student'" in output and "raise `parts`" in output
        dead = not training or re.search(DEAD, output)
        named = said or (dead and re.search(OUT_OF_MEMORY, output))
        require(named, f"that memory ran out is not named: {output[-3000:]}")
    bench.completes("memory ran out")


def _mounted(bench: Bench, options: str) -> Path:
    target = bench.workspace.folder / "results"
    target.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Skipped(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    return target


def _remount(target: Path, options: str, check: bool = True) -> bool:
    command = ["mount", "-o", f"remount,{options}", str(target)]
    return not subprocess.run(command, capture_output=True, check=check).returncode


def disk_full(bench: Bench) -> None:
    """The disk is full when states, samples or tables are to be written, then has room again."""
    bench.workspace.clear()
    target = _mounted(bench, "size=64m")
    try:
        for written, (begun, rules) in FULL.items():
            bench.workspace.clear()
            run = bench.workspace.start()
            require(wait_until(partial(begun, bench.workspace), run), f"no {written} were ever made")
            # What is written meanwhile may not fit any more.
            require(wait_until(partial(_fill, target), run), "the disk could not be made full")
            require(run.wait(timeout=LIMIT) != 0, f"a disk without room for {written} sufficed")
            output = bench.workspace.log.read_text(errors="replace")
            named = "No space left on device" in output and "Make room and give the same command again" in output
            require(named, f"a full disk is not named: {output[-2000:]}")
            require(re.search(rf"Error in rule ({rules})", output), f"not {written} failed: {output[-2000:]}")
            _remount(target, "size=64m")
            bench.completes(f"the disk had no room for {written}")
    finally:
        subprocess.run(["umount", "-l", str(target)], check=True)


def _fill(target: Path) -> bool:
    """Leave a folder's file system no more room than is taken; whether that could be done."""
    found = os.statvfs(target)
    return _remount(target, f"size={(found.f_blocks - found.f_bfree) * found.f_frsize}", check=False)


def read_only(bench: Bench) -> None:
    """The results can be read and not written for a while."""
    bench.workspace.clear()
    target = _mounted(bench, "size=64m")
    try:
        run = bench.workspace.start()
        require(wait_until(lambda: bench.workspace.jobs("student"), run), "no student was ever trained")
        bench.workspace.end(run)
        # As long as a dying process has a file open for writing, the file system is busy.
        wait_until(lambda: _remount(target, "ro", check=False), seconds=10)
        _remount(target, "ro")
        status, output = bench.workspace.run()
        require(status != 0, "a run succeeded in a folder that cannot be written")
        # A file that an interrupted job left is found by Snakemake itself.
        named = re.search(
            r"Read-only file system:? .*results/faults|Write-protected output files .*\n(.*\n)*?.*results/faults",
            output,
        )
        require(named, f"a read-only folder is not named: {output[-2000:]}")
        _remount(target, "rw")
        bench.completes("the folder was read-only")
    finally:
        subprocess.run(["umount", "-l", str(target)], check=True)


def damage(files: dict[str, str], downstream: Sequence[str]) -> Callable[[Bench], None]:
    """A byte of a finished result changes, its date does not; what was made of it, down to the page, is made again.

    Args:
        files: results, each with a pattern of the records of the jobs that make it and what is made of it.
        downstream: what was made of them, and is missing.
    """

    def inject(bench: Bench) -> None:
        workspace = bench.workspace
        bench.ready()
        for file, remade in files.items():
            finished = workspace.finished()
            path = workspace.results / file
            before = path.stat()
            content = bytearray(path.read_bytes())
            content[bench.random.randrange(len(content))] ^= 1 << bench.random.randrange(8)
            path.write_bytes(content)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            for made in (workspace.page, *(workspace.results / name for name in downstream)):
                made.unlink()
            status, output = workspace.run()
            require(status != 0, f"damage to {file} was not noticed")
            named = rf"{path.name}: damaged .*; set aside as damaged-{path.name}; run the same command again"
            require(re.search(named, output), f"damage to {file} is not named: {output[-2000:]}")
            bench.completes(f"damage to {file}", remade, finished)
            require(path.with_name(f"damaged-{path.name}").is_file(), f"damaged {file} was not set aside")

    return inject


def damaged_state(bench: Bench) -> None:
    """The newest state of an interrupted training is cut off: it goes on from the one before it."""
    workspace = bench.workspace
    workspace.clear()
    run = workspace.start()

    def two() -> list[Path]:
        """The newest state of a student that has two."""
        kept = [sorted(folder.glob("step-*.json")) for folder in workspace.found("ring/itvm/*/state/*")]
        return [states[-1] for states in kept if len(states) > 1]

    require(wait_until(two, run), "no student ever kept two states")
    workspace.end(run)
    require(newest := two(), "no two states are left")
    if len({path.stem for path in newest if path.parents[2].name in ("0", "1")}) > 1:
        # Killed in the midst of a save: these two, which train at once, have no second save that is whole.
        newest = [path for path in newest if path.parents[2].name == "2"]
    for path in newest:
        tensors = path.with_suffix(".safetensors")
        tensors.write_bytes(tensors.read_bytes()[:-1])
    bench.completes("states were damaged")
    for path in newest:
        student = path.parents[2]
        # Of seeds that train at once, the first has the log.
        first = student.with_name(str(int(student.name) // TOGETHER * TOGETHER))
        log = workspace.results / "logs" / first.relative_to(workspace.results) / "student.log"
        named = f"{path.name}: damaged state" in log.read_text() and "the one before it" in log.read_text()
        require(named, f"the damage to {path} was not named: {log.read_text()[-2000:]}")
        resumed = json.loads((student / "record.json").read_text())["resumed"]
        step = int(path.stem.split("-")[1])
        require(resumed and resumed[-1] < step, f"{student} went on from {resumed}, not from a state before {step}")


def orphan_ends(bench: Bench) -> None:
    """Snakemake is killed, and what it left running comes to its end before anybody looks."""
    workspace = bench.workspace
    workspace.clear()
    run = workspace.start()
    require(wait_until(lambda: workspace.found("ring/itvm/*/state/*/step-*.json"), run), "no state")
    orphaned = [path for path in workspace.found("ring/itvm/*") if (path / "state").is_dir()]
    kill(run.pid)
    run.wait()
    require(wait_until(lambda: not workspace.jobs()), "the orphans never ended")
    bench.completes("orphans had come to their end")
    for student in orphaned:
        record = json.loads((student / "record.json").read_text())
        require(record["iterations"] in record["resumed"], f"{student} was trained again from {record['resumed']}")


def clock_jumps(hours: int) -> Callable[[Bench], None]:
    """The clock jumps ahead by some hours, or back, while a run is at work."""
    return partial(_clock_jumps, hours=hours)


def _clock_jumps(bench: Bench, hours: int) -> None:
    workspace = bench.workspace
    workspace.clear()
    folder, jumped = workspace.folder / "clock", workspace.folder / "clock" / "jumped"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(CLOCK)
    jumped.unlink(missing_ok=True)
    more = {"CLOCK_JUMPED": str(jumped), "CLOCK_HOURS": str(hours), "PYTHONPATH": f"{workspace.folder}:{folder}"}
    run = workspace.start(**more)
    require(wait_until(lambda: workspace.found("ring/itvm/*/state/*/step-*.json"), run), "no state")
    time.sleep(bench.random.uniform(0, 2))
    finished = workspace.finished()
    jumped.touch()
    # What was written before lies so many hours further back for the new clock.
    for path in workspace.found("**/*"):
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            os.utime(path, (found.st_atime - 3600 * hours, found.st_mtime - 3600 * hours))
    status = run.wait(timeout=LIMIT)
    if status and hours < 0:
        # Snakemake refuses a result that is older than what it was made of.
        require("older modification time" in workspace.log.read_text(), f"the command failed: {end_of(workspace.log)}")
    else:
        require(status == 0, f"the command failed: {end_of(workspace.log)}")
    bench.completes("the clock jumped", finished=workspace.finished() | finished)
    seconds = [json.loads(path.read_text())["seconds"] for path in workspace.found("ring/itvm/*/record.json")]
    require(all(0 < each < 1800 for each in seconds), f"trainings took {seconds} seconds by a clock that jumped")
    _, output = workspace.run()
    require("Nothing to be done" in output, f"there is something left to do after the clock jumped: {output[-2000:]}")


def told_to_stop(bench: Bench) -> None:
    """Trainings are told to stop, as by a cluster that wants its node back; the command that runs goes on with them."""
    workspace = bench.workspace
    workspace.clear()
    run = workspace.start()
    for told in (signal.SIGTERM, signal.SIGUSR1):
        found: list[int] = []
        require(wait_until(lambda found=found: found.extend(workspace.jobs("student")) or found, run), "no student")
        require(wait_until(workspace.unfinished, run), "no state")
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, told)
        wait_until(lambda found=found: not set(found) & set(workspace.jobs()), run)
    require(run.wait(timeout=LIMIT) == 0, f"the command failed: {end_of(workspace.log)}")
    log = workspace.log.read_text()
    require("Trying to restart" in log, "nothing was told in time")
    require(GOES_ON in log, f"it was not said that trainings go on: {log[-2000:]}")
    bench.unchanged("trainings were told to stop")


def two_at_once(bench: Bench) -> None:
    """The command is given a second time while the first run is at work."""
    workspace = bench.workspace
    bench.ready()
    # Enough for the first to be at work.
    workspace.page.unlink()
    run = workspace.start()
    found: list[int] = []
    require(wait_until(lambda: found.extend(workspace.jobs()) or found, run), "the first run had nothing to do")
    # It does not end before the second has begun.
    os.kill(found[0], signal.SIGSTOP)
    log = workspace.folder / "second-log"
    status = workspace.start(log).wait(timeout=LIMIT)
    os.kill(found[0], signal.SIGCONT)
    require(status != 0, "a second run worked in the folder of the first")
    said = log.read_text()
    require("cannot be locked" in said and str(workspace.folder) in said, f"the lock is not named: {said[-2000:]}")
    require(run.wait(timeout=LIMIT) == 0, f"the first run failed: {workspace.log.read_text()[-2000:]}")
    bench.unchanged("two runs at once")


FULL: dict[str, tuple[Callable[[Workspace], object], str]] = {
    "states": (lambda workspace: workspace.found("ring/itvm/*/state/*/step-*.json"), r"student\w*"),
    "samples": (lambda workspace: workspace.jobs("evaluate"), "evaluate"),
    "tables": (lambda workspace: workspace.jobs("tables"), "tables|figures"),
}
"""By what is to be written when there is no room: what is waited for, and the rules that fail."""
# Snakemake makes what is missing only where something after it is to be made too.
SCORES = ("ring/itvm/metrics.csv", "metrics.csv")
SCORED = r"ring/itvm/evaluation\.json|collected\.json|tables/|figures/"
"""The records of what scores students and all after it."""
ONCE: dict[str, Callable[[Bench], None]] = {
    # First what needs a finished run.
    "two runs at once": two_at_once,
    "damaged weights": damage({"ring/itvm/0/weights.safetensors": rf"ring/itvm/[01]/|{SCORED}"}, SCORES),
    "damaged arrays": damage(
        {
            "ring/data.npz": rf"ring/data\.json|ring/baselines/|{SCORED}",
            # Students follow their error against it while they train.
            "ring/solution.npz": rf"ring/solution\.json|ring/itvm/|ring/baselines/|{SCORED}",
        },
        SCORES,
    ),
    "damaged samples": damage({"ring/itvm/0/samples.npz": SCORED}, ("figures/record.json",)),
    "disk full": disk_full,
    "read-only results": read_only,
    "out of memory": out_of_memory,
    "damaged state": damaged_state,
    "orphan that ends": orphan_ends,
    "clock that jumps ahead": clock_jumps(2),
    "clock that jumps back": clock_jumps(-2),
    "told to stop": told_to_stop,
}
