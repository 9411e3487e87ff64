"""The small experiment by ``sbatch``: one training is pre-empted, another's node dies; the tables are a local run's."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

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
            if not wait_until(lambda: all(cluster.running(node) for node in NODES) and both_kept(remote), run):
                sys.exit(f"no two students were trained:\n{remote.log.read_text()}\n{told(remote)}\n{cluster.logs()}")
            stopped, lost = (", ".join(cluster.running(node)) for node in NODES)
            cluster.ask("scontrol", "requeue", stopped)
            cluster.kill(NODES[1])
            print(f"job {stopped} was pre-empted; {NODES[1]} died with job {lost}", flush=True)
            status = run.wait(timeout=LIMIT)
            if status:
                sys.exit(
                    f"the run by Slurm failed:\n{remote.log.read_text()[-6000:]}\n{told(remote)}\n{cluster.logs()}"
                )
            jobs = cluster.ask("squeue", "-h", "-t", "all", "-o", "%A %T").splitlines()
        if remote.tables() != local.tables():
            sys.exit("the tables differ from those of the local run")
        resumed = {seed: read_json(remote.results / f"ring/itvm/{seed}/record.json")["resumed"] for seed in SEEDS}
        if not all(resumed.values()):
            sys.exit(f"not every training went on from a state: {resumed}")
        print(
            f"{len(jobs)} jobs by sbatch, trainings went on from steps {resumed}; the tables are those of the local run"
        )


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
