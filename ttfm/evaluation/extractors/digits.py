"""The digit classifier that an experiment trains, as an extractor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from ttfm.evaluation import classifier
from ttfm.evaluation.extractors.base import SmallExtractor


class DigitsExtractor(SmallExtractor):
    """The digit classifier: uint8 ``(N, 3, 8, 8)`` grey images to features "64".

    Args:
        name: the name it is registered under.
        features_list: the requested layers; "64" is the only one.
        feature_extractor_weights_path: safetensors written by :func:`ttfm.evaluation.classifier.save`.
        kwargs: torch-fidelity's other settings, of which none applies.
    """

    layer = str(classifier.FEATURES)
    side = 8

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
        self.require_images(images)
        # The three channels are copies of one: torch-fidelity knows colour images only.
        return (self.model.features(images[:, :1].float() / 127.5 - 1),)
