"""The networks, data and trainings that are timed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ttfm.data.densities import Ring
from ttfm.flow.fields import LearnedField
from ttfm.flow.precision import Precision
from ttfm.networks.dit import DiT
from ttfm.networks.mlp import MLP
from ttfm.networks.presets import PRESETS
from ttfm.networks.unet import UNet
from ttfm.training.trainer import Trainer, TrainingOptions, Trajectories


class Noise:
    """Images of noise: what an image shows does not change what a step costs."""

    def __init__(self, shape: tuple[int, ...], device: str):
        self._images = torch.randn(512, *shape, device=device)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images, ``(count, *shape)``."""
        device = self._images.device
        return self._images[torch.randint(len(self._images), (count,), generator=generator, device=device)]


@dataclass(frozen=True)
class Scene:
    """A network and the batch that it is trained on.

    Attributes:
        build: makes the network.
        shape: shape of one state.
        batch: samples per step.
        precision: of plain evaluations, the teacher's among them.
    """

    build: Any
    shape: tuple[int, ...]
    batch: int
    precision: Precision = "float32"

    def network(self, device: str) -> nn.Module:
        """The network with weights that are not those of its start, where some are zero."""
        torch.manual_seed(0)
        network = self.build(self.shape).to(device)
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.02 * torch.randn_like(weight))
        return network

    def trainer(self, loss: Any, device: str, iterations: int, seed: int = 0) -> Trainer:
        """A training whose teacher is a network of the same kind.

        Args:
            loss: the loss.
            device: where it trains.
            iterations: its steps. What is timed are all of them, or the loss's curriculum is not what is timed.
            seed: that of its batches; the weights are the same for all.
        """
        network, teacher = self.network(device), self.network(device).requires_grad_(False)
        stored = self._stored(device) if loss.offline else None
        # One row of the curve, the last step's, for which a GPU would be waited for.
        options = TrainingOptions(iterations, self.batch, log_every=iterations, probe_every=0, precision=self.precision)
        return Trainer(
            loss.wrap(network, self.shape, stored.schedules if stored else None).to(device),
            loss,
            Ring() if len(self.shape) == 1 else Noise(self.shape, device),
            LearnedField(teacher, precision=self.precision),
            options,
            seed,
            trajectories=stored,
        )

    def _stored(self, device: str) -> Trajectories:
        times = torch.linspace(0, 1, 33, device=device)
        path = torch.randn(33, 2 * self.batch, *self.shape, device=device)
        # Schedules as they are made of real trajectories: ever fewer of the same times.
        schedules = {steps: torch.linspace(0, 1, steps + 1, device=device) for steps in (1, 2, 4, 8, 16)}
        return Trajectories(times, path, schedules)


CPU = {
    "mlp": Scene(partial(MLP, width=128, depth=3), (2,), 256),
    "unet": Scene(partial(UNet, channels=32, multipliers=[1], patch=2), (1, 8, 8), 64),
    "dit": Scene(partial(DiT, width=64, depth=4, heads=4, patch=2), (1, 8, 8), 64),
}
GPU = {
    "mlp": Scene(partial(MLP, width=128, depth=3), (2,), 256),
    "unet": Scene(partial(UNet, **PRESETS["unet"]["cifar10-35m"]), (3, 32, 32), 128, "bfloat16"),
    "dit": Scene(partial(DiT, patch=2, **PRESETS["dit"]["S"]), (3, 32, 32), 128, "bfloat16"),
}
"""By the network's name: what one device's users train. On a GPU the field's own networks, on CIFAR-10's images."""


def scenes(device: str) -> dict[str, Scene]:
    """Those of a device, "cpu" or "cuda"."""
    return GPU if device.startswith("cuda") else CPU
