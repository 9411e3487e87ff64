"""From images to feature vectors along one path: quantise once, never resize, one extractor per metric name.

Importing this module registers the extractor ``digits-classifier`` with torch-fidelity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor
from torch_fidelity.utils import create_feature_extractor

from ttfm.evaluation import classifier
from ttfm.evaluation.checks import require_finite
from ttfm.files import sha256

EXTRACTOR = "digits-classifier"
LAYER = str(classifier.FEATURES)


def quantise(images: Tensor) -> Tensor:
    """Images in [-1, 1] as bytes: round((x + 1) 127.5), clipped to 0 .. 255; same shape, uint8.

    The only quantisation of this package: FID-like scores depend on it.

    Raises:
        ValueError: if an image holds a value that is not finite, which no byte can stand for.
    """
    require_finite(images, "images")
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


class DigitsExtractor(FeatureExtractorBase):
    """The digit classifier behind torch-fidelity's interface: uint8 ``(N, 3, 8, 8)`` grey images to features "64".

    Args:
        name: the name it is registered under.
        features_list: the requested layers; "64" is the only one.
        feature_extractor_weights_path: safetensors written by :func:`ttfm.evaluation.classifier.save`.
        kwargs: torch-fidelity's other settings, of which none applies.
    """

    def __init__(
        self, name: str, features_list: list[str], feature_extractor_weights_path: str | Path, **kwargs: Any
    ) -> None:
        super().__init__(name, features_list)
        self.model = classifier.load(feature_extractor_weights_path)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """The features, shape ``(N, 64)``, in a tuple of one.

        Raises:
            ValueError: if ``images`` is not uint8 of shape ``(N, 3, 8, 8)``.
        """
        if images.dtype != torch.uint8 or images.shape[1:] != (3, 8, 8):
            raise ValueError(f"uint8 images (N, 3, 8, 8) are needed, not {images.dtype} {tuple(images.shape)}")
        # The three channels are copies of one: torch-fidelity knows colour images only.
        return (self.model.features(images[:, :1].float() / 127.5 - 1),)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """The layers there are."""
        return (LAYER,)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """The layer for any metric of torch-fidelity."""
        return LAYER

    @staticmethod
    def can_be_compiled() -> bool:
        """Too small to gain anything from torch.compile."""
        return False

    @staticmethod
    def get_dummy_input_for_compile() -> Tensor:
        """An input of the right kind."""
        return torch.zeros(1, 3, 8, 8, dtype=torch.uint8)


# torch-fidelity refuses a second registration, which a reload of this module would be.
FEATURE_EXTRACTORS_REGISTRY.pop(EXTRACTOR, None)
register_feature_extractor(EXTRACTOR, DigitsExtractor)


@torch.no_grad()
def extract(images: Tensor, weights_path: str | Path, batch: int = 512) -> np.ndarray:
    """Features of grey images, computed on the CPU from their quantised values.

    Args:
        images: shape ``(N, 1, 8, 8)``, in [-1, 1]; values outside are clipped.
        weights_path: safetensors written by :func:`ttfm.evaluation.classifier.save`.
        batch: images per pass.

    Returns:
        float32 array of shape ``(N, 64)``.

    Raises:
        ValueError: if images have another shape or hold values that are not finite, or the weights are damaged.
    """
    if images.shape[1:] != (1, 8, 8):
        raise ValueError(f"the digit classifier takes images (N, 1, 8, 8), not {tuple(images.shape)}")
    settings = {"feature_extractor_weights_path": weights_path, "verbose": False}
    extractor = create_feature_extractor(EXTRACTOR, [LAYER], cuda=False, **settings)
    pixels = quantise(images.cpu()).repeat(1, 3, 1, 1)
    return torch.cat([extractor(piece)[0] for piece in pixels.split(batch)]).numpy()


def extractor_name(weights_path: str | Path) -> str:
    """What a table calls the extractor: its name and the first eight digits of its weights' sha256."""
    return f"{EXTRACTOR} {sha256(weights_path)[:8]}"
