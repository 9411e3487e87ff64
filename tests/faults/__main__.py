"""The fault suite in full: ``make faults``, or ``python -m tests.faults --kills 20 --only kill``."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import traceback
from itertools import cycle
from pathlib import Path

from tests.faults.bench import Bench, Skipped, prepare
from tests.faults.killing import TARGETS, kills
from tests.faults.kinds import ONCE
from ttfm.files import write_text
from ttfm.provenance import device_name, now, source

KILL = "kill -9 of "


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="kills at random moments (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", default="", help="inject only faults whose name holds this")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="a file for the table too (Markdown)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bench = prepare(folder / "project", options.seed)
        print(f"undisturbed: {bench.span:.0f} s", flush=True)
        rows: dict[str, list[int | str]] = {}
        states = 0
        for name, inject in ONCE.items():
            if options.only in name:
                started = time.monotonic()
                try:
                    inject(bench)
                    rows[name] = [1, 1, 0, ""]
                except Skipped as reason:
                    rows[name] = [0, 0, 0, f"skipped: {reason}"]
                except Exception:
                    # Whatever it is, the other faults and the table are still to come.
                    rows[name] = [1, 0, 1, ""]
                    traceback.print_exc()
                bench.workspace.end_all()
                print(f"{name}: {rows[name]}, {time.monotonic() - started:.0f} s", flush=True)
        for target in cycle([target for target in TARGETS if options.only in KILL + target]):
            name = KILL + target
            if sum(int(row[0]) for key, row in rows.items() if key.startswith(KILL)) >= options.kills:
                break
            row = rows.setdefault(name, [0, 0, 0, ""])
            count = 0
            try:
                for left in kills(bench, target):
                    count += 1
                    states += left
                row[1] = int(row[1]) + count
            except Exception:
                count = max(1, count)
                row[2] = int(row[2]) + count
                traceback.print_exc()
            bench.workspace.end_all()
            row[0] = int(row[0]) + count
            print(f"{name}: {row}", flush=True)
    text = table(rows) + (
        f"\nOne student with three seeds on the ring, two of which train at once; {bench.span:.0f} s undisturbed,"
        f" states five times a second. The kills left {states} trainings with a state to go on from.{lost(bench)}\n"
    )
    print(f"\n{text}")
    if options.out:
        write_text(options.out, text)
    # Kills that never leave a state would show nothing of how trainings go on.
    sys.exit(any(row[2] for row in rows.values()) or (options.kills >= 100 and not options.only and not states))


def lost(bench: Bench) -> str:
    """What kills of trainings cost, in a sentence."""
    if not bench.lost:
        return ""
    return (
        f" {len(bench.lost)} trainings were killed at work, {statistics.median(bench.lost):.1f} seconds in the median"
        f" and {max(bench.lost):.1f} at most after their last state, or their start where that was later."
    )


def table(rows: dict[str, list[int | str]]) -> str:
    """Faults injected, survived and lost, in Markdown, with what they were injected into."""
    totals: list[int | str] = [sum(int(row[column]) for row in rows.values()) for column in range(3)]
    lines = ["| fault | injected | survived | lost | |", "| --- | --- | --- | --- | --- |"]
    for name, row in (rows | {"all": [*totals, ""]}).items():
        lines.append(f"| {name} | " + " | ".join(map(str, row)) + " |")
    code = source()
    state = f"commit {str(code['commit'])[:12]}" + (" with changes" if code["dirty"] else "")
    return "\n".join([*lines, "", f"{device_name('cpu')}, {state}, {now()[:16]} UTC.", ""])


if __name__ == "__main__":
    main()
