"""The training loop, the same for teachers and students."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ttfm.data.sources import Gaussian, Source
from ttfm.flow.flow_map import FlowMap
from ttfm.flow.labels import bound
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss
from ttfm.losses.declaration import place
from ttfm.networks.embeddings import classes_of
from ttfm.seeds import generator
from ttfm.training.adamw import AdamW
from ttfm.training.clock import seconds
from ttfm.training.compiling import compiled
from ttfm.training.draws import Data, Draws
from ttfm.training.ema import EMA, PowerEMA
from ttfm.training.meter import Meter, NonFiniteError
from ttfm.training.options import TrainingOptions
from ttfm.training.ranks import Ranks
from ttfm.training.states import State

__all__ = ["Data", "NonFiniteError", "Progress", "Trainer", "TrainingOptions", "Trajectories"]


@dataclass(frozen=True)
class Trajectories:
    """Stored trajectories of a teacher's ODE.

    Attributes:
        times: from 0 to 1, shape ``(M,)``.
        path: states at these times, shape ``(M, N, *shape)``.
        schedules: the best times of each number k of Euler steps along them, ``(k + 1,)``.
        labels: class of each trajectory, ``(N,)``; None without classes.
    """

    times: Tensor
    path: Tensor
    schedules: dict[int, Tensor] = field(default_factory=dict)
    labels: Tensor | None = None


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
        ranks: the processes that train together, each with a network, data and options of its own that are the same.
        step: training steps done.
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
    ranks: Ranks = field(default_factory=Ranks)
    step: int = 0
    seconds: float = 0.0
    calls: dict[str, float] = field(default_factory=dict)
    terms: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.loss.needs_teacher and self.teacher is None:
            raise ValueError(
                f"{self._named()} needs a teacher's velocity field and none was given; give the trainer one, or declare"
                " needs_teacher = False if its terms ask for none"
            )
        if self.loss.offline and self.trajectories is None:
            raise ValueError(
                f"{self._named()} trains on the teacher's stored {self.loss.offline} and none were given; give the"
                ' trainer its trajectories, or declare offline = "" if its terms read none'
            )
        if self.options.parts % self.ranks.count:
            raise ValueError(
                f"training.parts: {self.options.parts} parts of a batch cannot be shared out evenly among"
                f" {self.ranks.count} ranks; give a multiple of their number"
            )
        self.classes = classes_of(self.network)
        found = getattr(self.data, "classes", self.classes if hasattr(self.data, "draw") else 0)
        if self.classes and found != self.classes:
            raise ValueError(f"network.classes: {self.classes} is not allowed; the data have {found or 'no'} classes")
        self.draws = Draws(self.data, self.options, self.seed, self.stream, self.classes, self.ranks)
        if self.options.compile and self.classes:
            # Their labels reach the network beside its arguments, where the compiler would take them for constants.
            raise ValueError("training.compile: networks with classes are not compiled; leave it out")
        on_gpu = next(self.network.parameters()).is_cuda
        if on_gpu if self.options.channels_last is None else self.options.channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.student = FlowMap(self.network, self.options.precision)
        average = PowerEMA if self.options.ema_profile == "power" else EMA
        self.averages = {value: average(self.network, value) for value in self.options.averages}
        self.evaluation = next(iter(self.averages.values()))
        decay = self.loss.target_decay
        if self.loss.stages and decay is not None:
            raise ValueError(f"loss {self.loss.name!r} asks for a target that is both averaged and renewed in stages")
        # A stop-gradient copy is the live network itself, called by losses under no_grad; a frozen stage is an average
        # with decay 0 that is updated at the stage's start alone.
        self.target_average = EMA(self.network, decay or 0.0) if decay or self.loss.stages else None
        followed = self.target_average.network if self.target_average else self.network
        self.target = FlowMap(followed, self.options.precision) if decay is not None or self.loss.stages else None
        self.teacher_calls = 0
        if self.options.compile:
            for network in {self.network, followed}:
                compiled(network)
        trained = [weight for weight in self.network.parameters() if weight.requires_grad]
        self.optimizer = AdamW(trained, self.options.beta2, self.options.weight_decay)
        self.meter = Meter(self.seed)

    def _named(self) -> str:
        """The loss with its file and line, for messages."""
        return f"{place(type(self.loss))}: loss {self.loss.name!r}"

    def ask_teacher(self, t: Tensor, x: Tensor) -> Tensor:
        """The teacher's velocity, counted."""
        assert self.teacher is not None
        self.teacher_calls += len(x) * getattr(self.teacher, "evaluations", 1)
        return self.teacher(t, x)

    def batch(self, step: int, device: torch.device, part: int = 0) -> Batch:
        """A part of the batch of ``step``: a function of (seed, step, part) alone, whatever the loss.

        Times are ordered pairs, uniform on 0 <= s <= t <= 1.
        """
        stream = self.draws.stream(part)
        source, x1, labels = self.draws.take(step, device, part)
        x0 = self.source.sample(lambda _: torch.randn(x1.shape, generator=source, device=device))
        s, t = torch.aminmax(torch.rand(2, len(x1), generator=source, device=device), dim=0)
        progress = step / self.options.iterations
        if not (self.loss.offline and self.trajectories):
            return Batch(x0, x1, s, t, source, progress, labels=self._with_null(labels, step, device, stream))
        stored = self.trajectories
        index = torch.randint(stored.path.shape[1], (len(x1),), generator=source, device=device)
        path = stored.path[:, index]
        labels = None if stored.labels is None else stored.labels[index]
        labels = self._with_null(labels, step, device, stream)
        return Batch(path[0], path[-1], s, t, source, progress, stored.times, path, stored.schedules, labels)

    def _with_null(self, labels: Tensor | None, step: int, device: torch.device, stream: str) -> Tensor | None:
        """The labels with the null class in place of those that are dropped; of a stream of their own."""
        if not self.classes:
            return None
        if labels is None:
            raise ValueError(f"network.classes: {self.classes} classes were asked for and the data have no labels")
        labels = labels.to(device, non_blocking=True)
        if not self.options.label_dropout:
            return labels
        source = generator(self.seed, f"{stream}-labels", step, device)
        dropped = torch.rand(len(labels), generator=source, device=device) < self.options.label_dropout
        return torch.where(dropped, self.classes, labels)

    def run(self) -> Iterator[Progress]:
        """Train from ``step`` to the end, yielding after every step.

        On the CPU every step is looked at before it changes the network. A GPU is not made to wait for that: it is
        looked at where a row of the curve is due or a snapshot taken, and the network may have gone on from a value
        that was not finite.

        Raises:
            NonFiniteError: naming the step at which a loss term or the map error was not finite.
        """
        self.network.train()
        while self.step < self.options.iterations:
            self._train(self.step)
            yield self.advance()
        self.network.eval()

    def advance(self) -> Progress:
        """Count a step that has been taken.

        Raises:
            NonFiniteError: if the map error was to be measured and was not finite.
        """
        self.step += 1
        return Progress(self.step, self._row(self.step, self.meter.sums) if self.row_due(self.step) else None)

    def renews(self, step: int) -> bool:
        """Whether a new stage begins with step ``step`` (from 0), for which the target is renewed."""
        return bool(self.loss.stages and step and self._stage(step) > self._stage(step - 1))

    def gradients(self, step: int) -> dict[str, Tensor]:
        """Leave this rank's share of the gradients of step ``step`` (from 0) in the weights.

        Returns:
            Its share of "loss", the scalar that is minimised, and of the terms' means.
        """
        device = next(self.network.parameters()).device
        teacher = self.ask_teacher if self.loss.needs_teacher else None
        self.optimizer.zero_grad()
        values: dict[str, Tensor] = {}
        for part in range(self.ranks.rank, self.options.parts, self.ranks.count):
            batch = self.batch(step, device, part)
            with bound(batch.labels):
                terms = self.loss.terms(batch, self.student, self.target, teacher)
            total = self.loss.total(terms) / self.options.parts
            total.backward()
            found = {"loss": total.detach()}
            found |= {name: value.detach().mean() / self.options.parts for name, value in terms.items()}
            values = {name: values.get(name, 0.0) + value for name, value in found.items()}
        return values

    def _train(self, step: int) -> None:
        """The training step ``step`` (from 0)."""
        options, device = self.options, next(self.network.parameters()).device
        started = seconds(device)
        if self.target_average and self.renews(step):
            self.target_average.update()
        values = self.gradients(step)
        self.meter.add(step + 1, list(values), self.ranks.sum(torch.stack(list(values.values()))))
        if device.type != "cuda":
            self.meter.look()
        self.ranks.sum_gradients(self.optimizer.weights)
        if options.clip:
            nn.utils.clip_grad_norm_(self.optimizer.weights, options.clip)
        self.optimizer.step(options.learning_rate(step))
        for average in self.averages.values():
            average.update()
        if self.target_average and not self.loss.stages:
            self.target_average.update()
        if self.look_due(step + 1):
            self.meter.look()
        self.account(step, list(values), seconds(device) - started)

    def account(self, step: int, names: list[str], took: float) -> None:
        """Note what step ``step`` (from 0) cost, in seconds, and the names of its values, "loss" among them."""
        self.seconds += took
        self.calls = self._count_calls(step + 1)
        self.terms = list(dict.fromkeys([*self.terms, *(name for name in names if name != "loss")]))

    def state(self) -> State:
        """All that the steps to come depend on, and what the steps so far are reported by.

        Raises:
            NonFiniteError: if a step that nobody has looked at yet was not finite.
        """
        self.meter.look()
        tensors = self.optimizer.tensors()
        for name, network in self._networks().items():
            tensors |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
        models = {"student": self.student, "target": self.target}
        return State(
            self.step,
            tensors,
            {
                "updates": {str(value): average.updates for value, average in self.averages.items()},
                "target_updates": self.target_average.updates if self.target_average else 0,
                "seconds": self.seconds,
                "terms": self.terms,
                "sums": self.meter.sums,
                # Of all ranks together, each of which makes the same share.
                "calls": {
                    name: {kind: calls * self.ranks.count for kind, calls in model.calls.items()}
                    for name, model in models.items()
                    if model is not None
                },
                "teacher_calls": self.teacher_calls * self.ranks.count,
            },
        )

    def restore(self, state: State) -> None:
        """Go on from a state of the same training: what :meth:`run` yields is what it would have yielded."""
        self.step, numbers = state.step, state.numbers
        self.optimizer.restore(state.tensors)
        for name, network in self._networks().items():
            prefix = f"{name}/"
            found = {key.removeprefix(prefix): value for key, value in state.tensors.items() if key.startswith(prefix)}
            network.load_state_dict(found)
        for value, average in self.averages.items():
            average.updates = numbers["updates"][str(value)]
        if self.target_average:
            self.target_average.updates = numbers["target_updates"]
        self.seconds, self.terms = numbers["seconds"], list(numbers["terms"])
        self.meter.sums = dict(numbers["sums"])
        for name, model in (("student", self.student), ("target", self.target)):
            if model is not None:
                model.calls.update({kind: n // self.ranks.count for kind, n in numbers["calls"][name].items()})
        self.teacher_calls = numbers["teacher_calls"] // self.ranks.count
        self.calls = self._count_calls(self.step) if self.step else {}

    def _networks(self) -> dict[str, nn.Module]:
        """The networks that training changes, by the names that their weights have in a state."""
        found = {"network": self.network}
        found |= {f"average-{value}": average.network for value, average in self.averages.items()}
        return found | ({"target": self.target_average.network} if self.target_average else {})

    def _stage(self, step: int) -> int:
        return step * self.loss.stages // self.options.iterations

    def _probe_due(self, step: int) -> bool:
        every, last = self.options.probe_every, step == self.options.iterations
        return bool(self.probe is not None and every and (step % every == 0 or last))

    def row_due(self, step: int) -> bool:
        """Whether the training curve has a row after ``step`` steps."""
        last = step == self.options.iterations
        return step % self.options.log_every == 0 or last or self._probe_due(step)

    def look_due(self, step: int) -> bool:
        """Whether what is reported after ``step`` steps needs all that was noted so far."""
        return self.row_due(step) or step in self.options.snapshots

    def _row(self, step: int, sums: dict[str, float]) -> dict[str, float]:
        options = self.options
        count = step % options.log_every or options.log_every
        row: dict[str, float] = {"step": step, "seconds": round(self.seconds, 3)}
        row |= {name: value / count for name, value in sums.items()}
        if self._probe_due(step):
            assert self.probe is not None
            try:
                row["map_error"] = self.probe(self.evaluation.network)
            except ValueError as error:
                raise NonFiniteError(f"map error at step {step} (seed {self.seed}): {error}", step) from error
        if step % options.log_every == 0:
            sums.clear()
        return row

    def _count_calls(self, steps: int) -> dict[str, float]:
        """Network evaluations per training step, in units of the batch, averaged over the first ``steps``."""
        batch = self.options.batch * steps
        models = [self.student] + ([self.target] if self.target is not None else [])
        forward = sum(model.calls["forward"] for model in models) / batch
        jvp = sum(model.calls["jvp"] for model in models) / batch
        backward = sum(model.calls[kind] for model in models for kind in ("forward-backward", "jvp-backward")) / batch
        found = {"forward": forward, "backward": backward, "jvp": jvp, "teacher": self.teacher_calls / batch}
        # Every rank makes the same share of them.
        return {name: calls * self.ranks.count for name, calls in found.items()}
