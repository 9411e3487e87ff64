"""``make bench``, or ``python -m tests.bench --part steps --only itvm``: measure, and write JSON and tables."""

from __future__ import annotations

import argparse
import importlib
import os
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
PUBLISHED = Path("results/published/bench")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda", "auto"), default="auto")
    parser.add_argument("--part", action="append", choices=PARTS, help="measure only this (repeatable)")
    parser.add_argument("--only", default="", help="within a part, only what holds this in its name")
    parser.add_argument("--out", type=Path, default=PUBLISHED, help=f"folder of the tables (default {PUBLISHED})")
    options = parser.parse_args()
    device = pick_device(options.device)
    for part in options.part or [name for name in PARTS if device == "cpu" or name not in ON_CPU_ALONE]:
        started, load = now(), os.getloadavg()[0]
        rows = importlib.import_module(f"tests.bench.{part}").measure(device, options.only)
        about = {"part": part, "title": PARTS[part], "device": device_name(device), "cores": os.cpu_count()}
        about |= {"threads": torch.get_num_threads(), "load before": load, "started": started, "finished": now()}
        write_json(options.out / f"{part}-{device}.json", about | source() | {"versions": versions(), "rows": rows})
        text = table(read_json(options.out / f"{part}-{device}.json"))
        write_text(options.out / f"{part}-{device}.md", text)
        print(text, flush=True)


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
    return compact(value) if isinstance(value, float) else "" if value is None else str(value)


if __name__ == "__main__":
    main()
