"""Slurm's daemons and munge's, on this machine alone, in a folder of their own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scontrol")
NODES = ("node1", "node2")
SYSTEM = Path("/etc/slurm/slurm.conf")
"""Where Slurm's commands look in a job, whose environment its steps do not pass on."""
PORTS = (17010, 17011, 17012)

CONFIG = """
ClusterName=ttfm
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/none
# Ended jobs are asked about for as long as the test runs.
MinJobAge=86400
# A node that says nothing is down soon, and its jobs are given to another.
SlurmdTimeout=10
KillWait=2
# What the profile asks for counts, and not what the cluster would do by itself.
JobRequeue=0
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=node1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=64000
NodeName=node2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=64000
PartitionName=main Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """The daemons, from entering the context to leaving it.

    Args:
        folder: where configuration, logs, sockets and states lie; the user's own, with a short path.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = folder / "slurm.conf"
        self.environment = os.environ | {"SLURM_CONF": str(self.config)}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        if missing := [name for name in NEEDED if not shutil.which(name)]:
            raise FileNotFoundError(f"{', '.join(missing)} not found: apt-get install slurm-wlm munge")
        if SYSTEM.exists():
            raise FileExistsError(f"{SYSTEM}: this machine has a Slurm of its own, which is left alone")
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        # One processor each, however many there are: jobs must come to both.
        self.config.write_text(CONFIG.format(folder=self.folder, ports=PORTS))
        SYSTEM.parent.mkdir(exist_ok=True)
        # What a test that was killed has left points nowhere.
        SYSTEM.unlink(missing_ok=True)
        SYSTEM.symlink_to(self.config)
        try:
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start_all(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        self._start(
            "munged",
            *("--foreground", "--force", f"--key-file={key}", f"--socket={self.folder}/munge.socket"),
            *(f"--{name}={self.folder}/munged.{name.split('-')[0]}" for name in ("pid-file", "log-file", "seed-file")),
        )
        self._until(lambda: (self.folder / "munge.socket").exists(), "munged does not answer")
        self._start("slurmctld", "-D", "-f", str(self.config))
        for node in NODES:
            self._start(node, "-D", "-N", node, "-f", str(self.config), program="slurmd")
        self._until(lambda: self.idle() == len(NODES), "the nodes are not ready")

    def __exit__(self, *error: object) -> None:
        for node in NODES:
            self.kill(node)
        SYSTEM.unlink(missing_ok=True)
        for daemon in self._daemons.values():
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def idle(self) -> int:
        """Number of nodes that could take a job."""
        return self.ask("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").count("node")

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False).stdout

    def running(self, node: str) -> list[str]:
        """Jobs at work on a node."""
        return self.ask("squeue", "-h", "-t", "R", "-w", node, "-o", "%A").split()

    def kill(self, node: str) -> None:
        """A node dies: its daemon and all that it started, at once."""
        daemon = self._daemons.get(node)
        if daemon and daemon.poll() is None:
            for pid in [*_descendants(daemon.pid), *_of_node(self.folder / f"spool-{node}", node), daemon.pid]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            daemon.wait()

    def logs(self) -> str:
        """The ends of all daemons' logs, for messages."""
        return "\n".join(
            f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in self.folder.glob("*.log")
        )

    def _start(self, name: str, *arguments: str, program: str = "") -> None:
        with (self.folder / f"{name}.out").open("w") as stream:
            self._daemons[name] = subprocess.Popen(
                [program or name, *arguments],
                env=self.environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def _until(self, condition, message: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"{message}; {self.logs()}")
            time.sleep(0.2)


def _descendants(pid: int) -> list[int]:
    """All processes below one."""
    found = [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    return [*(below for child in found for below in _descendants(child)), *found]


def _of_node(spool: Path, node: str) -> list[int]:
    """Step daemons of a node and what they started: they outlive its daemon, and name its spool folder or itself."""
    found: list[int] = []
    marks = str(spool).encode(), f"SLURMD_NODENAME={node}\0".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                if any(mark in told for mark in marks):
                    found += [*_descendants(int(entry.name)), int(entry.name)]
            except OSError:
                continue
    return found
