"""Several processes that train one network together, as ``torchrun`` starts them.

Each of them computes some of the parts that a batch is made of; their gradients are summed before the optimizer's step.
The sum is taken once after the backward passes and not from hooks within them, as ``DistributedDataParallel`` takes it:
those see one evaluation of one module, while a loss evaluates its network several times, and in forward mode besides.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Ranks:
    """The processes of a training.

    Attributes:
        rank: number of this one, from 0; it alone writes files.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    def sum(self, values: Tensor) -> Tensor:
        """The sum of every rank's ``values``, the same on all of them."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def sum_gradients(self, weights: Iterable[Tensor]) -> None:
        """Replace the weights' gradients by their sums over ranks; a weight that no rank has one for keeps none."""
        if self.count == 1:
            return
        weights = list(weights)
        # A loss may leave a weight out for its samples on one rank and not on another.
        has = self.sum(
            torch.tensor([weight.grad is not None for weight in weights], dtype=torch.float32).to(weights[0])
        )
        moved = [weight for weight, anywhere in zip(weights, has.tolist(), strict=True) if anywhere]
        for weight in moved:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        # One message: many small ones would cost more than the numbers they carry.
        flat = self.sum(torch.cat([weight.grad.flatten() for weight in moved if weight.grad is not None]))
        for weight, part in zip(moved, flat.split([weight.numel() for weight in moved]), strict=True):
            weight.grad = part.view_as(weight)

    def any(self, flags: Sequence[bool], device: torch.device | str) -> list[bool]:
        """Of each flag, whether some rank has it set, the same on all of them."""
        if self.count == 1:
            return [*flags]
        return [total > 0 for total in self.sum(torch.tensor(flags, dtype=torch.float32, device=device)).tolist()]

    def wait(self) -> None:
        """Go on when all ranks have come here."""
        if self.count > 1:
            distributed.barrier()


def join(device: str) -> Ranks:
    """The ranks that this process belongs to; alone unless torchrun started it."""
    if "LOCAL_RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        return Ranks()
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        # A process whose group is still there when it ends may be ended by the group's threads, with an error.
        atexit.register(_leave)
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
