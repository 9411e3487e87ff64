"""AdamW by torch's fused kernel.

Without torch's optimizer class: the first one that a process makes imports torch's compiler, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class AdamW:
    r"""Decoupled weight decay and Adam's step (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2).

    The arithmetic is that of ``torch.optim.AdamW(fused=True)``, bit for bit.

    Args:
        weights: the parameters, which are changed in place.
        beta2: decay of the second moment, in (0, 1); that of the first is 0.9.
        weight_decay: rate at which weights decay, per step and unit of the learning rate, >= 0.
    """

    def __init__(self, weights: Iterable[Tensor], beta2: float = 0.999, weight_decay: float = 0.0):
        self.weights = list(weights)
        self.beta2 = beta2
        self.weight_decay = weight_decay
        self.means = [torch.zeros_like(weight, memory_format=torch.preserve_format) for weight in self.weights]
        self.squares = [torch.zeros_like(mean, memory_format=torch.preserve_format) for mean in self.means]
        self.steps = [torch.zeros((), dtype=torch.float32, device=weight.device) for weight in self.weights]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Take one step of learning rate ``lr``; weights without a gradient stay, and so do their moments."""
        moved = [index for index, weight in enumerate(self.weights) if weight.grad is not None]
        adamw(
            [self.weights[index] for index in moved],
            [gradient for index in moved if (gradient := self.weights[index].grad) is not None],
            [self.means[index] for index in moved],
            [self.squares[index] for index in moved],
            [],
            [self.steps[index] for index in moved],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=self.beta2,
            lr=lr,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for weight in self.weights:
            weight.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """The moments and the number of steps of every weight."""
        found = {f"adamw/mean-{index}": value for index, value in enumerate(self.means)}
        found |= {f"adamw/square-{index}": value for index, value in enumerate(self.squares)}
        return found | {"adamw/steps": torch.stack(self.steps)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`tensors` gave."""
        for index, (mean, square) in enumerate(zip(self.means, self.squares, strict=True)):
            mean.copy_(tensors[f"adamw/mean-{index}"])
            square.copy_(tensors[f"adamw/square-{index}"])
        for steps, value in zip(self.steps, tensors["adamw/steps"], strict=True):
            steps.copy_(value)
