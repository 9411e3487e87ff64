"""ResNet-56 for CIFAR-10 (He et al., arXiv 1512.03385, section 4.2), as an extractor of its 64 pooled features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ttfm.evaluation import weights
from ttfm.evaluation.extractors.base import SmallExtractor

BLOCKS = 9
"""Blocks per stage: 6 n + 2 layers with n = 9."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, by which the weights' training normalised its input."""


class Block(nn.Module):
    """Two convolutions beside a shortcut without parameters (option A): strided, zero channels added on both sides."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.added = stride, (width - channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        """States ``(N, channels, H, W)`` to ``(N, width, H / stride, W / stride)``."""
        shortcut = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added, self.added))
        return functional.relu(self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))) + shortcut)


class ResNet56(nn.Module):
    """Images ``(N, 3, 32, 32)``, normalised, to 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(Block(before, width, stride), *(Block(width, width, 1) for _ in range(BLOCKS - 1)))
            for before, width, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        )
        self.linear = nn.Linear(64, 10)

    def features(self, images: Tensor) -> Tensor:
        """The pooled features, shape ``(N, 64)``, non-negative."""
        x = functional.relu(self.bn1(self.conv1(images)))
        return self.layer3(self.layer2(self.layer1(x))).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the ten classes, shape ``(N, 10)``."""
        return self.linear(self.features(images))


def normalised(images: Tensor) -> Tensor:
    """Bytes ``(N, 3, H, W)`` as the network wants them, float32."""
    mean, std = (torch.tensor(values, device=images.device).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def load(path: str | Path) -> ResNet56:
    """The network with the weights of a file, in evaluation mode, on the CPU.

    Raises:
        ValueError: naming the file, if it holds other weights.
    """
    with torch.random.fork_rng(devices=[]):
        model = ResNet56()
    try:
        model.load_state_dict(weights.load(Path(path)))
    except RuntimeError as error:
        raise ValueError(f"{path}: not the weights of the CIFAR-10 ResNet-56 ({error})") from error
    return model.eval().requires_grad_(False)


class ResNet56Extractor(SmallExtractor):
    """uint8 ``(N, 3, 32, 32)`` images to features "64".

    Args:
        name: the name it is registered under.
        features_list: the requested layers; "64" is the only one.
        feature_extractor_weights_path: file of ``weights.CIFAR_RESNET56``.
        kwargs: torch-fidelity's other settings, of which none applies.
    """

    layer = "64"
    side = 32

    def __init__(
        self, name: str, features_list: list[str], feature_extractor_weights_path: str | Path, **kwargs: Any
    ) -> None:
        super().__init__(name, features_list)
        self.model = load(feature_extractor_weights_path)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """The features, shape ``(N, 64)``, in a tuple of one.

        Raises:
            ValueError: if ``images`` is not uint8 of shape ``(N, 3, 32, 32)``.
        """
        self.require_images(images)
        return (self.model.features(normalised(images)),)
