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
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import interpolate
from ttfm.flow.solvers import Field
from ttfm.losses.declaration import DeclarationError, Learns, Offline, check, import_fault, place, shown


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
        times: grid of the stored trajectories from 0 to 1, ``(M,)``; None unless the loss is ``offline``. Pairs have
            M = 2.
        path: the teacher's states at ``times``, ``(M, B, *shape)``, x0 and x1 being its ends; None likewise.
        schedules: the best times of each number k of Euler steps along them, ``(k + 1,)``; empty unless the loss asks
            for them.
        labels: class of each sample, ``(B,)``; None without classes. They are bound while the loss is computed
            (:mod:`ttfm.flow.labels`): a loss that asks about the whole batch need not look at them.
    """

    x0: Tensor
    x1: Tensor
    s: Tensor
    t: Tensor
    generator: torch.Generator
    progress: float = 0.0
    times: Tensor | None = None
    path: Tensor | None = None
    schedules: dict[int, Tensor] = field(default_factory=dict)
    labels: Tensor | None = None

    def at(self, time: Tensor) -> Tensor:
        """The interpolant's states at ``time`` ``(B,)``, shape ``(B, *shape)``."""
        return interpolate(self.x0, self.x1, time)

    def single_time(self) -> Tensor:
        """Times uniform on [0, 1], ``(B,)``: one end of each pair, either with the same chance."""
        return torch.where(self.uniform() < 0.5, self.s, self.t)

    def part(self, samples: slice) -> Batch:
        """The batch of some of the samples."""
        labels = None if self.labels is None else self.labels[samples]
        path = None if self.path is None else self.path[:, samples]
        x0, x1, s, t = (value[samples] for value in (self.x0, self.x1, self.s, self.t))
        return replace(self, x0=x0, x1=x1, s=s, t=t, path=path, labels=labels)

    def other_noise(self) -> Tensor:
        """The noise of another sample for each, ``(B, *shape)``: from the problem's source, independent of its own."""
        return self.x0.roll(1, 0)

    def uniform(self) -> Tensor:
        """Fresh uniform numbers in [0, 1), shape ``(B,)``."""
        return torch.rand(len(self.x0), generator=self.generator, device=self.x0.device, dtype=self.x0.dtype)

    def normal(self) -> Tensor:
        """Fresh standard normal numbers, shape ``(B, *shape)``."""
        return torch.randn(self.x0.shape, generator=self.generator, device=self.x0.device, dtype=self.x0.dtype)


@dataclass(frozen=True)
class Variant:
    """One setting of a loss's options that the generic tests run.

    Attributes:
        options: the options.
        residual: bound on the mean squared residual of every term at the exact map of a linear-Gaussian flow in two
            dimensions (x1 ~ N(0, 0.3^2 I)): zero up to rounding, unless the loss itself approximates. Of a
            ``conditional`` loss, whose residual vanishes in the mean only: bound on the squared distance of the map at
            which it is stationary, judged by its gradients at the exact map and at one that is shifted. Infinite where
            the loss aims at another flow than the teacher's.
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
        learns: which sampler fits: "velocity" (ODE steps), "to_data" (consistency to t = 1) or "any_to_any"; or
            "own": the loss's own :meth:`sample`.
        needs_teacher: whether ``terms`` asks a teacher's velocity field.
        conditional: whether a target holds the conditional velocity x1 - x0 or another single-sample estimate, so that
            the exact map is stationary in expectation and the residual does not vanish sample by sample.
        exact_terms: of a ``conditional`` loss, the terms without such an estimate, which do vanish sample by sample.
        starts_from_teacher: whether students start from the teacher's weights; None: where ``needs_teacher``. The
            others start from random weights.
        offline: what it trains on of the teacher's ODE, which is solved once and stored: "pairs" of noise and sample,
            the ends of ``batch.path``; whole "trajectories"; or these with the best "schedules" of few steps along
            them; "" for nothing.
        paired: for "own" samplers, whether a sample approximates the end of the ODE's path from its noise.
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
    exact_terms: ClassVar[tuple[str, ...]] = ()
    offline: ClassVar[Offline] = ""
    paired: ClassVar[bool] = True
    variants: ClassVar[tuple[Variant, ...]] = (Variant(),)

    @property
    def uses_jvp(self) -> bool:
        """Whether a forward-mode derivative of the student or of the target is taken."""
        return False

    @property
    def trains_through_jvp(self) -> bool:
        """Whether gradients flow through that derivative; otherwise it is part of a target, behind a stop-gradient."""
        return False

    @property
    def target_decay(self) -> float | None:
        """EMA decay mu in [0, 1) of the target network, 0 for a stop-gradient copy, None where no target is used."""
        return None

    def wrap(self, network: nn.Module, shape: tuple[int, ...], schedules: dict[int, Tensor] | None = None) -> nn.Module:
        """The model that is trained, given an initialised network u(s, t, x); most losses train the network itself.

        The model must be called like the network. It is built once before training and once before sampling, where the
        trained weights are then loaded into it.

        Args:
            network: u(s, t, x).
            shape: shape of one state.
            schedules: those of the stored trajectories, where there are any; not known before sampling.
        """
        return network

    def sample(
        self, model: nn.Module, x0: Tensor, steps: int, noise: Callable[[int], Tensor], teacher: Field
    ) -> Tensor:
        """Samples of a model that no standard sampler serves, ``(N, *shape)``; asked only where ``learns`` is "own".

        Args:
            model: the trained model, in evaluation mode; called without gradients.
            x0: noise, shape ``(N, *shape)``.
            steps: number of steps.
            noise: fresh standard normal noise of x0's shape for i = 1, 2, ..., a function of the samples' indices.
            teacher: the teacher's velocity.
        """
        raise NotImplementedError(f"loss {self.name!r} learns {self.learns!r} and has no sampler of its own")

    def unserved(self, steps: int) -> str:
        """Why samples cannot be taken in so many steps, in words for who wrote the experiment; "" where they can."""
        return ""

    @property
    def intervals(self) -> int:
        """Least number of intervals that stored trajectories must have; asked only where ``offline``."""
        return 1

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
        """The scalar that is minimised: the weighted sum of the terms' means.

        Args:
            terms: what :meth:`terms` returns, each ``(B,)``; or ``(B, n)`` of n networks that train together, for each
                of which there is a scalar: ``(n,)``.
        """
        parts = [self.weights.get(name, 1.0) * value.mean(0) for name, value in terms.items()]
        return torch.stack(parts).sum(0)


LOSSES: dict[str, type[Loss]] = {}
L = TypeVar("L", bound=type[Loss])


def register(loss: L) -> L:
    """Class decorator: enter a loss into the registry under its ``name``.

    Raises:
        DeclarationError: naming file and line, if another class already has the name, or the class does not declare
            what a loss must declare.
    """
    known = LOSSES.get(getattr(loss, "name", ""))
    if known and (known.__module__, known.__qualname__) != (loss.__module__, loss.__qualname__):
        raise DeclarationError(f"{place(loss)}: two losses are called {loss.name!r}: here and at {place(known)}")
    check(loss, Loss, Variant)
    LOSSES[loss.name] = loss
    return loss


def load_modules(extra: tuple[str, ...] = ()) -> dict[str, type[Loss]]:
    """Import every loss of the package and of ``extra`` Python files; returns the registry.

    Raises:
        FileNotFoundError: naming a file of ``extra`` that does not exist.
        DeclarationError: naming file and line, if a file of ``extra`` cannot be imported, defines no loss, or one that
            does not declare what it must.
    """
    package = importlib.import_module("ttfm.losses")
    for found in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"ttfm.losses.{found.name}")
    for path in map(Path, extra):
        _load(path)
    return LOSSES


def _load(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"loss_modules: {path} does not exist")
    # The path is part of the name: two files called alike must not replace each other.
    name = f"ttfm_extra_{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise DeclarationError(f"{shown(path)}: no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    before = dict(LOSSES)
    # Dataclasses and type hints look their module up by its name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        if not any(loss.__module__ == name for loss in LOSSES.values()):
            raise DeclarationError(f"{shown(path)}: it defines no loss; write @register above the loss's class")
    except Exception as error:
        # What failed half-way leaves nothing behind.
        del sys.modules[name]
        LOSSES.clear()
        LOSSES.update(before)
        if isinstance(error, DeclarationError):
            raise
        raise DeclarationError(import_fault(path, error)) from error


def squared_norm(x: Tensor) -> Tensor:
    """Squared Euclidean norm of every sample, ``(B, *shape) -> (B,)``."""
    return x.flatten(1).square().sum(1)


def initial_error(prediction: Tensor, velocity: Tensor, size: int) -> Tensor:
    """The squared error of the initial velocity, known for the first samples of a batch of ``size``, shape ``(size,)``.

    It is scaled, and zero on the others, so that the batch mean is the expectation estimated on those that are known.

    Args:
        prediction: u(s, s, x_s), shape ``(n, *shape)``.
        velocity: v_s(x_s), of the same shape.
        size: samples in the batch, at least n.
    """
    error = squared_norm(prediction - velocity) * (size / len(prediction))
    return torch.cat([error, error.new_zeros(size - len(error))])
