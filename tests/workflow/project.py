"""What tests of real DAGs share: a copy of the project to run in, and a small experiment."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.registry import with_registry
from ttfm.cli import STEPS

ROOT = Path(__file__).parents[2]
COPIED = ("Snakefile", "workflow", "profiles", "ttfm", "pyproject.toml")
POINTS = {
    "name": "points",
    "title": "Two losses on the ring",
    "device": "cpu",
    "seeds": [0],
    "budgets": [1, 2],
    "students": {"itvm": {"loss": "itvm"}, "cd": {"loss": "cd"}},
    "problems": {
        "ring": {
            "title": "Ring",
            "data": {"name": "ring"},
            "network": {"name": "mlp", "width": 16, "depth": 2},
            "training": {"iterations": 20, "batch": 32, "log_every": 5, "probe_every": 10},
            "evaluation": {"samples": 256, "steps": 8},
        }
    },
}


def checkout(folder, described=True):
    """A copy of the project without its results, to run in; ``described`` saves its first plan some seconds."""
    folder.mkdir()
    if described:
        with_registry(folder / "results")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def surroundings(folder):
    """The environment of a user: this Python first, and bytecode written beside the sources."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(folder)}


def snakemake(folder, *arguments, check=True, timeout=1200):
    environment = surroundings(folder)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rules(output):
    """The rules that a dry run says it would run, by what it prints."""
    table = output.partition("Job stats:")[2].partition("Reasons:")[0]
    return set(re.findall(r"^(\w+) +\d+$", table, re.MULTILINE)) - {"all", "total"}


def planned(folder, *arguments):
    """The rules that a dry run would run."""
    return rules(snakemake(folder, *arguments, "--dry-run"))


def in_one_process(folder, *arguments):
    """Every step that Snakemake would run, by the command it would run it with, one after another in one process."""
    printed = snakemake(folder, *arguments, "--dry-run", "--printshellcmds")
    commands = [line.partition("python -m ttfm ")[2] for line in printed.splitlines() if "python -m ttfm " in line]
    # Steps are listed in the order of their data; a student that starts from another comes after it.
    order = list(STEPS)
    commands.sort(key=lambda command: (order.index(command.split()[0]), "--start " in command))
    script = (
        "import sys\nfrom ttfm.cli import main\nfor line in sys.stdin:\n    main(line.partition(' 2> ')[0].split())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=surroundings(folder), input="\n".join(commands), text=True,
        capture_output=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return commands


def write(folder, config):
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return "--configfile", str(path)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
