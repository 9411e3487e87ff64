"""The training loop, the same for teachers and students."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol

import torch
from torch import Tensor, nn

from ttfm.data.sources import Gaussian, Source
from ttfm.flow.flow_map import FlowMap
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss
from ttfm.options import Count, Decay, Positive, Range
from ttfm.seeds import generator
from ttfm.training.clock import seconds
from ttfm.training.ema import EMA


class Data(Protocol):
    """Whatever yields training data."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` data points of shape ``(count, *shape)``."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained.

    Attributes:
        iterations: number of optimizer steps.
        batch: samples per step.
        lr: peak learning rate of Adam.
        warmup: steps of linear warm-up of the learning rate.
        schedule: "cosine" decays the learning rate to zero over ``iterations``, "constant" keeps it.
        beta2: decay of Adam's second moment.
        ema: decay of the evaluation EMA.
        log_every: steps between rows of the training curve.
        probe_every: steps between measurements of the map error; 0 for none.
        snapshots: steps after which the evaluation EMA is kept, to be scored beside the final one.
    """

    iterations: Count = 4000
    batch: Count = 256
    lr: Positive = 1e-3
    warmup: Annotated[int, Range(0)] = 0
    schedule: Literal["cosine", "constant"] = "cosine"
    beta2: Decay = 0.999
    ema: Decay = 0.999
    log_every: Count = 100
    probe_every: Annotated[int, Range(0)] = 500
    snapshots: list[Count] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.snapshots and max(self.snapshots) > self.iterations:
            raise ValueError(f"snapshots: {max(self.snapshots)} is after the last of {self.iterations} iterations")

    def learning_rate(self, step: int) -> float:
        """The learning rate of optimizer step ``step`` (0-based)."""
        rate = self.lr * min(1.0, (step + 1) / self.warmup) if self.warmup else self.lr
        return rate * (1 + math.cos(math.pi * step / self.iterations)) / 2 if self.schedule == "cosine" else rate


@dataclass(frozen=True)
class Trajectories:
    """Stored trajectories of a teacher's ODE.

    Attributes:
        times: from 0 to 1, shape ``(M,)``.
        path: states at these times, shape ``(M, N, *shape)``.
        schedules: the best times of each number k of Euler steps along them, ``(k + 1,)``.
    """

    times: Tensor
    path: Tensor
    schedules: dict[int, Tensor] = field(default_factory=dict)


class NonFiniteError(RuntimeError):
    """A loss term or the map error became NaN or infinite; the message names it, the step and the seed."""


@dataclass
class Progress:
    """What one step reports: ``row`` of the training curve where one is due, else None."""

    step: int
    row: dict[str, float] | None = None


@dataclass
class Trainer:
    """Trains one network with one loss.

    Args:
        network: u(s, t, x), already initialised, on its device.
        loss: the loss.
        data: source of training data.
        teacher: the teacher's velocity field, where the loss needs one.
        options: how to train.
        seed: determines data order, noise and times together with the step.
        stream: name of the stream of randomness; a teacher's differs from its students'.
        probe: measures the map error of the evaluation EMA, called every ``options.probe_every`` steps.
        trajectories: the teacher's stored trajectories, for losses that train on them.
        source: the distribution of noise.
    """

    network: nn.Module
    loss: Loss
    data: Data
    teacher: Field | None
    options: TrainingOptions
    seed: int
    stream: str = "batch"
    probe: Callable[[nn.Module], float] | None = None
    trajectories: Trajectories | None = None
    source: Source = field(default_factory=Gaussian)
    seconds: float = 0.0
    calls: dict[str, float] = field(default_factory=dict)
    terms: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.loss.needs_teacher and self.teacher is None:
            raise ValueError(f"loss {self.loss.name!r} needs a teacher's velocity field and none was given")
        if self.loss.offline and self.trajectories is None:
            raise ValueError(f"loss {self.loss.name!r} trains on the teacher's stored trajectories and none were given")
        self.student = FlowMap(self.network)
        self.evaluation = EMA(self.network, self.options.ema)
        decay = self.loss.target_decay
        if self.loss.stages and decay is not None:
            raise ValueError(f"loss {self.loss.name!r} asks for a target that is both averaged and renewed in stages")
        # A stop-gradient copy is the live network itself, called by losses under no_grad; a frozen stage is an average
        # with decay 0 that is updated at the stage's start alone.
        self._target_ema = EMA(self.network, decay or 0.0) if decay or self.loss.stages else None
        followed = self._target_ema.network if self._target_ema else self.network
        self.target = FlowMap(followed) if decay is not None or self.loss.stages else None
        self._teacher_calls = 0

    def _ask_teacher(self, t: Tensor, x: Tensor) -> Tensor:
        assert self.teacher is not None
        self._teacher_calls += len(x)
        return self.teacher(t, x)

    def batch(self, step: int, device: torch.device) -> Batch:
        """The batch of ``step``: a function of (seed, step) alone, whatever the loss.

        Times are ordered pairs, uniform on 0 <= s <= t <= 1.
        """
        source = generator(self.seed, self.stream, step, device)
        x1 = self.data.sample(self.options.batch, source).to(device)
        x0 = self.source.sample(lambda _: torch.randn(x1.shape, generator=source, device=device))
        s, t = torch.rand(2, len(x1), generator=source, device=device).sort(dim=0).values
        progress = step / self.options.iterations
        if not (self.loss.offline and self.trajectories):
            return Batch(x0, x1, s, t, source, progress)
        stored = self.trajectories
        path = stored.path[:, torch.randint(stored.path.shape[1], (len(x1),), generator=source, device=device)]
        return Batch(path[0], path[-1], s, t, source, progress, stored.times, path, stored.schedules)

    def run(self) -> Iterator[Progress]:
        """Train, yielding after every step.

        Raises:
            NonFiniteError: as soon as a loss term or the map error is not finite.
        """
        options, device = self.options, next(self.network.parameters()).device
        teacher = self._ask_teacher if self.loss.needs_teacher else None
        optimizer = torch.optim.Adam(self.network.parameters(), lr=options.lr, betas=(0.9, options.beta2), fused=True)
        self.network.train()
        sums: dict[str, float] = {}
        for step in range(options.iterations):
            started = seconds(device)
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate(step)
            if self._target_ema and self.loss.stages and step and self._stage(step) > self._stage(step - 1):
                self._target_ema.update()
            terms = self.loss.terms(self.batch(step, device), self.student, self.target, teacher)
            total = self.loss.total(terms)
            values = {"loss": total.item()} | {name: value.detach().mean().item() for name, value in terms.items()}
            self._check(values, step)
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            optimizer.step()
            self.evaluation.update()
            if self._target_ema and not self.loss.stages:
                self._target_ema.update()
            self.seconds += seconds(device) - started
            self.calls = self._count_calls(step + 1)
            self.terms = list(dict.fromkeys([*self.terms, *terms]))
            sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
            yield Progress(step + 1, self._row(step + 1, sums))
        self.network.eval()

    def _stage(self, step: int) -> int:
        return step * self.loss.stages // self.options.iterations

    def _check(self, values: dict[str, float], step: int) -> None:
        # Named terms before their sum, so that the culprit is named.
        for name in reversed(values):
            if not math.isfinite(values[name]):
                raise NonFiniteError(f"non-finite loss term {name!r} at step {step + 1} (seed {self.seed})")

    def _row(self, step: int, sums: dict[str, float]) -> dict[str, float] | None:
        options = self.options
        last = step == options.iterations
        due = self.probe is not None and options.probe_every and (step % options.probe_every == 0 or last)
        if not (step % options.log_every == 0 or last or due):
            return None
        count = step % options.log_every or options.log_every
        row: dict[str, float] = {"step": step, "seconds": round(self.seconds, 3)}
        row |= {name: value / count for name, value in sums.items()}
        if due:
            assert self.probe is not None
            try:
                row["map_error"] = self.probe(self.evaluation.network)
            except ValueError as error:
                raise NonFiniteError(f"map error at step {step} (seed {self.seed}): {error}") from error
        if step % options.log_every == 0:
            sums.clear()
        return row

    def _count_calls(self, steps: int) -> dict[str, float]:
        """Network evaluations per training step, in units of the batch, averaged over the first ``steps``."""
        batch = self.options.batch * steps
        models = [self.student] + ([self.target] if self.target is not None else [])
        forward = sum(model.calls["forward"] for model in models) / batch
        jvp = sum(model.calls["jvp"] for model in models) / batch
        backward = sum(model.calls["differentiated"] for model in models) / batch
        return {"forward": forward, "backward": backward, "jvp": jvp, "teacher": self._teacher_calls / batch}


def parameter_count(network: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
