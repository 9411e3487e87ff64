"""``make bench``, or ``python -m tests.bench --part steps --only itvm``: measure, and write JSON and tables."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
from pathlib import Path
from typing import Any

import torch

from ttfm.devices import pick_device
from ttfm.files import read_json, write_json, write_text
from ttfm.provenance import device_name, now, source, versions
from ttfm.reporting.numbers import compact

PARTS = {
    "steps": "A training step of every loss",
    "networks": "Networks",
    "seeds": "Seeds that train at once",
    "savings": "A training step on a CPU, without and with what is done about its cost",
    "saving": "Saving the state of a training",
    "stages": "Stages of an experiment",
    "starts": "Cold starts of the command line",
    "plans": "Planning an experiment",
    "overhead": "What a run spends outside of its jobs",
    "bill": "The full experiments by arithmetic",
}
ON_CPU_ALONE = ("savings", "starts", "plans", "overhead", "bill")
"""Parts that no GPU takes part in."""
AGAINST = "overhead"
"""The part that can run another commit's code beside this one's."""
PUBLISHED = Path("results/published/bench")


def main(arguments: list[str] | None = None) -> None:
    """Measure what is asked for and write each part's tables."""
    options = parse(arguments)
    device = pick_device(options.device)
    for part in options.part or [name for name in PARTS if device == "cpu" or name not in ON_CPU_ALONE]:
        started, load = now(), os.getloadavg()[0]
        more = {"against": options.against} if part == AGAINST else {}
        rows = importlib.import_module(f"tests.bench.{part}").measure(device, options.only, **more)
        about = {"part": part, "title": PARTS[part], "device": device_name(device), "cores": os.cpu_count()}
        about |= {"threads": torch.get_num_threads(), "load before": load, "started": started, "finished": now()}
        write_json(options.out / f"{part}-{device}.json", about | source() | {"versions": versions(), "rows": rows})
        text = table(read_json(options.out / f"{part}-{device}.json"))
        write_text(options.out / f"{part}-{device}.md", text)
        print(text, flush=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options; what would overwrite a full table by a part of it is refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda", "auto"), default="auto")
    parser.add_argument("--part", action="append", choices=PARTS, help="measure only this (repeatable)")
    parser.add_argument("--only", default="", help="within a part, only what holds this in its name; needs --out")
    parser.add_argument("--out", type=Path, default=PUBLISHED, help=f"folder of the tables (default {PUBLISHED})")
    parser.add_argument(
        "--against", type=_commit, metavar="COMMIT", help=f"of {AGAINST}: run that code's experiment too"
    )
    options = parser.parse_args(arguments)
    if options.only and options.out.resolve() == PUBLISHED.resolve():
        parser.error(f"--only: a part of a table would take the place of the whole in {PUBLISHED}; give another --out")
    if options.against and AGAINST not in (options.part or ()):
        parser.error(f"--against is of the part {AGAINST!r} alone; give --part {AGAINST}")
    return options


def _commit(name: str) -> str:
    """The full name of a commit."""
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    if found.returncode:
        raise argparse.ArgumentTypeError(f"{name!r} is no commit of this repository")
    return found.stdout.strip()


def table(found: dict[str, Any]) -> str:
    """What was measured in Markdown, with what on and of which code."""
    columns = list(dict.fromkeys(key for row in found["rows"] for key in row))
    lines = [f"## {found['title']}", "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in found["rows"]]
    state = f"commit {found['commit'][:12]}" + (" with changes" if found["dirty"] else "")
    lines += ["", f"{found['device']}, {found['threads']} thread, {state}, torch {found['versions']['torch']},"]
    lines += [f"{found['started'][:16]} UTC, load before {found['load before']:.1f}.", ""]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return compact(value) if isinstance(value, float) else "" if value is None else str(value)


if __name__ == "__main__":
    main()
