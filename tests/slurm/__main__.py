"""The small experiment by ``sbatch``: one training is pre-empted, another's node dies; the tables are a local run's."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from tests.faults.workspace import LIMIT, SEEDS, TOGETHER, Workspace, wait_until
from tests.slurm.cluster import NODES, Cluster
from tests.workflow.project import ROOT, surroundings
from ttfm.files import read_json


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="slurm-") as temporary:
        local, remote = (Workspace(Path(temporary) / name, iterations=10_000) for name in ("local", "remote"))
        status, output = local.run()
        if status:
            sys.exit(f"the local run failed:\n{output}")
        print("local run: done", flush=True)
        with Cluster(Path(temporary) / "c") as cluster:
            command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", *remote.arguments]
            more = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
            more += ["--seconds-between-status-checks", "2"]
            # The nodes have no GPUs, and nobody keeps accounts.
            more += ["--slurm-no-account", "--set-resources", *(f"{rule}:gpu=0" for rule in on_gpu())]
            limits = ["--default-resources", "slurm_partition=main", "mem_mb=2000", "runtime=30"]
            environment = cluster.environment | surroundings(remote.folder)
            environment |= {"SLURM_CONF": str(cluster.config), "TTFM_SAVE_EVERY": "0.2"}
            with remote.log.open("w") as stream:
                run = subprocess.Popen(
                    [*command, *more, *limits], cwd=remote.folder, env=environment, stdout=stream, stderr=stream
                )
            try:
                if not wait_until(lambda: all(cluster.running(node) for node in NODES) and both_kept(remote), run):
                    fail("no two students were trained", remote, cluster)
                stopped, lost = (", ".join(cluster.running(node)) for node in NODES)
                cluster.ask("scontrol", "requeue", stopped)
                cluster.kill(NODES[1])
                print(f"job {stopped} was pre-empted; {NODES[1]} died with job {lost}", flush=True)
                if run.wait(timeout=LIMIT):
                    fail("the run by Slurm failed", remote, cluster)
                jobs = cluster.ask("squeue", "-h", "-t", "all", "-o", "%A %T").splitlines()
            finally:
                # However this ended: the folder is about to be removed.
                remote.end(run)
        if remote.tables() != local.tables():
            sys.exit("the tables differ from those of the local run")
        resumed = {seed: read_json(remote.results / f"ring/itvm/{seed}/record.json")["resumed"] for seed in SEEDS}
        if not all(resumed.values()):
            sys.exit(f"not every training went on from a state: {resumed}")
        print(
            f"{len(jobs)} jobs by sbatch, trainings went on from steps {resumed}; the tables are those of the local run"
        )


def fail(what: str, workspace: Workspace, cluster: Cluster) -> NoReturn:
    """End with all that was told."""
    sys.exit(f"{what}:\n{workspace.log.read_text()[-6000:]}\n{told(workspace)}\n{cluster.logs()}")


def both_kept(workspace: Workspace) -> bool:
    """Whether both jobs that train students are at work and have kept a state."""
    kept = [list(workspace.results.glob(f"ring/itvm/{seed}/state/*/step-*.json")) for seed in SEEDS]
    return all(kept) and len(workspace.jobs("student")) == 2


def told(workspace: Workspace) -> str:
    """The ends of what the last jobs wrote."""
    logs = (workspace.folder / ".snakemake" / "slurm_logs").rglob("*.log")
    last = sorted(logs, key=lambda path: path.stat().st_mtime)[-3:]
    return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-3000:]}" for path in last)


def on_gpu() -> list[str]:
    """The rules that ask for a GPU."""
    rules = "".join(path.read_text() for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
    found = re.findall(r"^rule (\w+):(.*?)(?=^rule |\Z)", rules, re.M | re.S)
    groups = [f"student_{'_'.join(map(str, seeds))}" for seeds in (SEEDS[:TOGETHER], SEEDS[TOGETHER:])]
    return [*groups, *(rule for rule, body in found if "gpu=" in body)]


if __name__ == "__main__":
    main()
