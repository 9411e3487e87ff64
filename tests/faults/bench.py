"""What a fault is injected into, and what is required of it afterwards."""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.workspace import Workspace


class Skipped(Exception):
    """The fault cannot be injected here; why."""


class Lost(AssertionError):
    """Work, a number or the way back was lost; what."""


def require(condition: object, what: str) -> None:
    if not condition:
        raise Lost(what)


@dataclass
class Bench:
    """A workspace, the tables of its undisturbed run, and a source of random moments.

    Attributes:
        span: seconds of the undisturbed run.
        lost: seconds of work that each kill of a training lost: since its last state, or its start.
    """

    workspace: Workspace
    reference: dict[str, bytes]
    random: random.Random
    span: float
    lost: list[float] = field(default_factory=list)

    def completes(self, fault: str, remade: str = "(?!)", finished: dict[Path, bytes] | None = None) -> None:
        """The same command again ends well, with the numbers of the undisturbed run and nothing done twice.

        Args:
            fault: what happened.
            remade: pattern of the records, below the results, of jobs that the fault makes it do again.
            finished: the records of what was finished before the fault; of what is now by default.
        """
        finished = self.workspace.finished() if finished is None else finished
        status, output = self.workspace.run()
        require(status == 0, f"the same command failed after {fault}: {output[-2000:]}")
        self.unchanged(fault)
        self.once(fault, finished, remade)

    def ready(self) -> None:
        """There is a finished run."""
        if self.workspace.tables() != self.reference:
            self.completes("another fault")

    def once(self, fault: str, finished: dict[Path, bytes], remade: str = "(?!)") -> None:
        """Records of what was finished are those that were found then."""
        names = {path: str(path.relative_to(self.workspace.results)) for path in finished}
        again = [name for path, name in names.items() if not path.is_file() or path.read_bytes() != finished[path]]
        again = [name for name in again if not re.match(remade, name)]
        require(not again, f"done twice after {fault}: {again}")

    def unchanged(self, fault: str) -> None:
        """The tables are those of the undisturbed run, and no state is left."""
        require(self.workspace.tables() == self.reference, f"tables changed after {fault}")
        require(self.workspace.page.is_file(), f"no page after {fault}")
        found = (path for path in self.workspace.found("**/state/**/*") if path.is_file())
        left = [path for path in found if not path.name.startswith("damaged-")]
        require(not left, f"states are left after {fault}: {left}")


def prepare(folder: Path, seed: int) -> Bench:
    """Run the experiment once, undisturbed."""
    workspace = Workspace(folder)
    started = time.monotonic()
    status, output = workspace.run()
    require(status == 0, output)
    return Bench(workspace, workspace.tables(), random.Random(seed), time.monotonic() - started)
