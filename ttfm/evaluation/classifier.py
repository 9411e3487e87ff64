"""A small classifier of 8x8 digits. Its pooled features stand in for Inception's where images are this small."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ttfm import seeds
from ttfm.files import replacing

FEATURES = 64
"""Number of pooled features."""


class DigitClassifier(nn.Module):
    """Three convolutions, a global mean and a linear layer: images ``(N, 1, 8, 8)`` in [-1, 1] to 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, FEATURES, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, 10)

    def features(self, images: Tensor) -> Tensor:
        """The pooled features, shape ``(N, 64)``, non-negative; after training their root mean square is about 1."""
        return self.body(images).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the ten digits, shape ``(N, 10)``."""
        return self.head(self.features(images))


def train_classifier(
    images: Tensor, labels: Tensor, seed: int, epochs: int = 30, batch: int = 64, learning_rate: float = 3e-3
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train on images shifted by at most one pixel; the same inputs give the same weights, whatever ran before.

    Adam with a one-cycle learning rate, on one thread of the CPU: sums over several threads have no fixed order.

    Args:
        images: shape ``(N, 1, 8, 8)``, in [-1, 1].
        labels: digits, shape ``(N,)``, int64.
        seed: non-negative integer; decides initial weights, order and shifts.
        epochs: passes over the images.
        batch: images per step.
        learning_rate: the highest of the cycle.

    Returns:
        The weights, and a record (JSON types) of settings, final loss and accuracy on the training images.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.generator(seed, "classifier").initial_seed())
            model = DigitClassifier()
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
        steps = epochs * -(-len(images) // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
        total = 0.0
        for epoch in range(epochs):
            generator = seeds.generator(seed, "classifier", epoch + 1)
            total = 0.0
            for index in torch.randperm(len(images), generator=generator).split(batch):
                loss = functional.cross_entropy(model(_shifted(images[index], generator)), labels[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item() * len(index)
        _normalise(model, images)
        record = {
            "images": len(images),
            "seed": seed,
            "epochs": epochs,
            "batch": batch,
            "learning_rate": learning_rate,
            "final_loss": total / len(images),
            "train_accuracy": accuracy(model, images, labels),
        }
        return {name: value.detach().clone() for name, value in model.state_dict().items()}, record
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def _normalise(model: DigitClassifier, images: Tensor) -> None:
    """Rescale the features to a root mean square of 1 on ``images`` without changing any logit.

    The scale of a trained network's features is an accident, but Fréchet distances grow with its square, and the kernel
    (a.b / D + 1)^3 of KID presumes features of order one.
    """
    scale = model.features(images).square().mean().sqrt()
    for parameter in model.body[-2].parameters():  # the last convolution; ReLU and mean commute with the scale
        parameter.div_(scale)
    model.head.weight.mul_(scale)


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every image moved by -1, 0 or 1 pixels along each axis; background (-1) enters at the border."""
    size = images.shape[-1]
    padded = functional.pad(images[:, 0], (1, 1, 1, 1), value=-1.0)
    offset = torch.randint(3, (2, len(images), 1), generator=generator)
    row, column = offset + torch.arange(size)
    return padded[torch.arange(len(images))[:, None, None], row[:, :, None], column[:, None, :]][:, None]


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The fraction of ``images`` ``(N, 1, 8, 8)`` whose largest logit is at ``labels`` ``(N,)``."""
    return (model(images).argmax(dim=1) == labels).double().mean().item()


def save(path: str | Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights as safetensors, atomically; equal weights give equal files."""
    with replacing(path) as temporary:
        save_file(dict(weights), temporary)


def load(path: str | Path) -> DigitClassifier:
    """The classifier of a file written by :func:`save`, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file, if it is damaged or holds other weights.
    """
    model = DigitClassifier()
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path}: not the weights of the digit classifier ({error}); make the file again") from error
    return model.eval().requires_grad_(False)
