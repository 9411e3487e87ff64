"""How a network is trained: the options of an experiment's ``training``, ``teacher`` and their defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from ttfm.flow.precision import Precision
from ttfm.options import Count, Decay, Fraction, NonNegative, Positive, Range

WIDEST = 12**-0.5
"""Relative width of the plain mean over the whole training: no power-function average is wider."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained.

    Attributes:
        iterations: number of optimizer steps.
        batch: samples per step.
        lr: peak learning rate of AdamW.
        warmup: steps of linear warm-up of the learning rate.
        schedule: "cosine" and "linear" decay the learning rate to zero over ``iterations``, "constant" keeps it,
            "inverse_sqrt" keeps it for ``decay_after`` steps and then divides it by the root of step / decay_after
            (Karras et al., arXiv 2312.02696, appendix B).
        decay_after: see ``schedule``; at least 1 where that is "inverse_sqrt".
        beta2: decay of Adam's second moment.
        weight_decay: decoupled weight decay of AdamW; 0 is Adam.
        clip: largest norm of the whole gradient, which is scaled down to it; 0 leaves gradients alone.
        parts: parts that a batch is computed in, one after another or shared out among ranks, and whose gradients are
            averaged: less memory for the same step. What a loss computes of a whole batch it computes of a part. Every
            part has randomness of its own, so that numbers depend on the parts and not on the ranks.
        precision: of the networks' plain evaluations. "bfloat16" is autocast; forward-mode derivatives, the loss's own
            arithmetic, weights and averages stay in float32. A CPU without instructions for it gets slower; "auto" is
            "bfloat16" on a GPU and on a CPU that has them, "float32" on another, and the record says which it was.
        compile: whether torch's compiler fuses the networks' plain evaluations, forwards and back; forward-mode
            derivatives and what is around the networks stay as they are. It takes a minute or more per network and size
            of batch, and was measured on one CPU alone, where it did not pay. Not for networks with classes.
        channels_last: whether weights of convolutions and images lie channel by channel in memory, which tensor cores
            want; null: on a GPU.
        ema: decay of the evaluation EMA. Of several, the first is evaluated and stored as the weights, the others are
            stored beside it.
        ema_profile: what ``ema`` holds: "exponential" for decays, "power" for relative widths of power-function
            averages (arXiv 2312.02696), below 0.2886; 0.1 and 0.05 are the source's.
        label_dropout: fraction of the samples whose label is replaced by the null class, so that the network learns the
            unconditional flow too (classifier-free guidance, arXiv 2207.12598); only for networks with classes.
        log_every: steps between rows of the training curve.
        probe_every: steps between measurements of the map error; 0 for none.
        snapshots: steps after which the evaluation EMA is kept, to be scored beside the final one.

    Raises:
        ValueError: naming the option, if options contradict each other.
    """

    iterations: Count = 4000
    batch: Count = 256
    lr: Positive = 1e-3
    warmup: Annotated[int, Range(0)] = 0
    schedule: Literal["cosine", "constant", "linear", "inverse_sqrt"] = "cosine"
    decay_after: Annotated[int, Range(0)] = 0
    beta2: Decay = 0.999
    weight_decay: NonNegative = 0.0
    clip: NonNegative = 0.0
    parts: Count = 1
    precision: Precision = "float32"
    compile: bool = False
    channels_last: bool | None = None
    ema: Decay | list[Decay] = 0.999
    ema_profile: Literal["exponential", "power"] = "exponential"
    label_dropout: Fraction = 0.0
    log_every: Count = 100
    probe_every: Annotated[int, Range(0)] = 500
    snapshots: list[Count] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.snapshots and max(self.snapshots) > self.iterations:
            raise ValueError(f"snapshots: {max(self.snapshots)} is after the last of {self.iterations} iterations")
        if self.batch % self.parts:
            raise ValueError(f"parts: a batch of {self.batch} cannot be divided into {self.parts} equal parts")
        if self.schedule == "inverse_sqrt" and not self.decay_after:
            raise ValueError("decay_after: the schedule 'inverse_sqrt' needs the step after which it decays, 1 or more")
        if not self.averages or len(set(self.averages)) < len(self.averages):
            raise ValueError(f"ema: {self.ema!r} is not allowed; at least one value, each of them once")
        if self.ema_profile == "power" and not all(0 < width < WIDEST for width in self.averages):
            raise ValueError(f"ema: {self.ema!r} is not allowed; relative widths lie between 0 and {WIDEST:.4f}")

    @property
    def part(self) -> int:
        """Samples of a part of a batch."""
        return self.batch // self.parts

    @property
    def averages(self) -> list[float]:
        """The option ``ema`` as a list, the average that is evaluated first."""
        return list(self.ema) if isinstance(self.ema, list) else [self.ema]

    def learning_rate(self, step: int) -> float:
        """The learning rate of optimizer step ``step`` (0-based)."""
        rate = self.lr * min(1.0, (step + 1) / self.warmup) if self.warmup else self.lr
        if self.schedule == "cosine":
            return rate * (1 + math.cos(math.pi * step / self.iterations)) / 2
        if self.schedule == "linear":
            return rate * (1 - step / self.iterations)
        if self.schedule == "inverse_sqrt":
            return rate / math.sqrt(max(1.0, step / self.decay_after))
        return rate
