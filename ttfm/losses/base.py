"""The one signature of every loss, and the registry that losses enter by being defined.

A loss is a frozen dataclass of its hyper-parameters. Importing its module registers it; everything else (the
experiment's schema, the sampler, the methods table, the generic tests) follows from what the class declares.
"""

from __future__ import annotations

import abc
import importlib
import importlib.util
import pkgutil
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import interpolate
from ttfm.flow.solvers import Field

Learns = Literal["velocity", "to_data", "any_to_any"]


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Attributes:
        x0: noise, ``(B, *shape)``.
        x1: data, ``(B, *shape)``.
        s: start times in [0, 1], ``(B,)``.
        t: end times in [s, 1], ``(B,)``; the pair is uniform on its triangle, s alone has density 2 (1 - s).
        generator: source of any further randomness a loss draws; (seed, step) determines it.
        progress: fraction of the training that is done, in [0, 1): the argument of schedules and curricula.
        times: grid of the stored trajectories from 0 to 1, ``(M,)``; None unless the loss is ``offline``.
        path: the teacher's states at ``times``, ``(M, B, *shape)``, x0 and x1 being its ends; None likewise.
    """

    x0: Tensor
    x1: Tensor
    s: Tensor
    t: Tensor
    generator: torch.Generator
    progress: float = 0.0
    times: Tensor | None = None
    path: Tensor | None = None

    def at(self, time: Tensor) -> Tensor:
        """The interpolant's states at ``time`` ``(B,)``, shape ``(B, *shape)``."""
        return interpolate(self.x0, self.x1, time)

    def single_time(self) -> Tensor:
        """Times uniform on [0, 1], ``(B,)``: one end of each pair, either with the same chance."""
        return torch.where(self.uniform() < 0.5, self.s, self.t)

    def uniform(self) -> Tensor:
        """Fresh uniform numbers in [0, 1), shape ``(B,)``."""
        return torch.rand(len(self.x0), generator=self.generator, device=self.x0.device, dtype=self.x0.dtype)


@dataclass(frozen=True)
class Variant:
    """One setting of a loss's options that the generic tests run.

    Attributes:
        options: the options.
        residual: bound on the mean squared residual of every term at the exact map of a linear-Gaussian flow in two
            dimensions (x1 ~ N(0, 0.3^2 I)): zero up to rounding, unless the loss itself approximates.
        mixture: the same bound at the finely solved map of a Gaussian mixture.
        progress: the fraction of the training at which this holds, for losses with a schedule.
    """

    options: dict[str, Any] = field(default_factory=dict)
    residual: float = 1e-12
    mixture: float = 1e-6
    progress: float = 0.0


@dataclass(frozen=True)
class Loss(abc.ABC):
    """Base of all losses; subclasses are frozen dataclasses whose fields are the hyper-parameters.

    Attributes:
        name: the registry's key, as experiments write it.
        title: the name as a figure shows it.
        family: which identity of the flow map it enforces.
        source: paper(s) and, where ours is not the paper's own setting, what ours is.
        learns: which sampler fits: "velocity" (ODE steps), "to_data" (consistency to t = 1) or "any_to_any".
        needs_teacher: whether ``terms`` asks a teacher's velocity field.
        starts_from_teacher: whether the student starts from the teacher's weights; None, the default: where it needs
            the teacher. A student that does not trains as many iterations more as the teacher took.
        conditional: whether a target holds the conditional velocity x1 - x0 or another single-sample estimate, so that
            the exact map is stationary in expectation and the residual does not vanish sample by sample.
        offline: whether it trains on stored trajectories of the teacher's ODE, ``batch.path``.
        variants: settings that the generic tests run.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    family: ClassVar[str]
    source: ClassVar[str]
    learns: ClassVar[Learns]
    needs_teacher: ClassVar[bool]
    starts_from_teacher: ClassVar[bool | None] = None
    conditional: ClassVar[bool] = False
    offline: ClassVar[bool] = False
    variants: ClassVar[tuple[Variant, ...]] = (Variant(),)

    @property
    def uses_jvp(self) -> bool:
        """Whether a forward-mode derivative of the student or of the target is taken."""
        return False

    @property
    def target_decay(self) -> float | None:
        """EMA decay mu in [0, 1) of the target network, 0 for a stop-gradient copy, None where no target is used."""
        return None

    @property
    def stages(self) -> int:
        """Number of equal parts of the training at whose start a frozen target is renewed from the student; 0: none."""
        return 0

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the terms in the trained sum; terms not named have weight one."""
        return {}

    @abc.abstractmethod
    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """Per-sample values of every term, each of shape ``(B,)``.

        Args:
            batch: states and times.
            student: the model under training; gradients flow to it alone.
            target: the target network; None unless ``target_decay`` or ``stages`` say otherwise.
            teacher: the teacher's velocity field; None unless ``needs_teacher``.
        """

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """The scalar that is minimised: the weighted sum of the terms' means."""
        parts = [self.weights.get(name, 1.0) * value.mean() for name, value in terms.items()]
        return torch.stack(parts).sum()


LOSSES: dict[str, type[Loss]] = {}
L = TypeVar("L", bound=type[Loss])


def register(loss: L) -> L:
    """Class decorator: enter a loss into the registry under its ``name``.

    Raises:
        ValueError: if another class already has the name.
    """
    known = LOSSES.get(loss.name)
    if known and (known.__module__, known.__qualname__) != (loss.__module__, loss.__qualname__):
        raise ValueError(f"two losses are called {loss.name!r}: {known.__module__} and {loss.__module__}")
    LOSSES[loss.name] = loss
    return loss


def load_modules(extra: tuple[str, ...] = ()) -> dict[str, type[Loss]]:
    """Import every loss of the package and of ``extra`` Python files; returns the registry.

    Raises:
        FileNotFoundError: naming a file of ``extra`` that does not exist.
    """
    package = importlib.import_module("ttfm.losses")
    for found in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"ttfm.losses.{found.name}")
    for path in map(Path, extra):
        if not path.is_file():
            raise FileNotFoundError(f"loss_modules: {path} does not exist")
        # The path is part of the name: two files called alike must not replace each other.
        name = f"ttfm_extra_{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Dataclasses and type hints look their module up by its name.
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return LOSSES


def squared_norm(x: Tensor) -> Tensor:
    """Squared Euclidean norm of every sample, ``(B, *shape) -> (B,)``."""
    return x.flatten(1).square().sum(1)
