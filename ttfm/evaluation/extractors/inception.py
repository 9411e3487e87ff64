"""Inception-v3 as torch-fidelity ports it from TensorFlow, with the weights of 2015-12-05 or those of Keras.

Both resize to 299 pixels as TensorFlow 1 did and map bytes b to (b - 128) / 128. Keras's own preprocessing is
b / 127.5 - 1 after whatever resizing the user chose, so features of its weights are those of this path, not of Keras.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ttfm.evaluation import weights


class InceptionExtractor(FeatureExtractorInceptionV3):
    """The network of FID and of the Inception score: features "2048" and "logits_unbiased" among others.

    Args:
        name: the name it is registered under.
        features_list: the requested layers.
        feature_extractor_weights_path: file of ``weights.INCEPTION``.
        kwargs: torch-fidelity's other settings.

    Raises:
        ValueError: naming the file, if it holds other weights.
    """

    absent: tuple[str, ...] = ()
    """Beginnings of the names of weights that the file does without."""

    def __init__(
        self, name: str, features_list: list[str], feature_extractor_weights_path: str | Path, **kwargs: Any
    ) -> None:
        # torch-fidelity unpickles the file itself, code and all; it also takes one that is already in memory.
        state = weights.load(Path(feature_extractor_weights_path))
        memory = io.BytesIO()
        torch.save(state, memory)
        memory.seek(0)
        with torch.random.fork_rng(devices=[]):
            try:
                super().__init__(name, features_list, memory, **kwargs)
            except RuntimeError as error:
                raise ValueError(f"{feature_extractor_weights_path}: not the weights of {name} ({error})") from error

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """As torch's; weights named in ``absent`` keep what they have."""
        kept = {key: value for key, value in self.state_dict().items() if key.startswith(self.absent or ("\0",))}
        counts = {key: value for key, value in self.state_dict().items() if key.endswith("num_batches_tracked")}
        return super().load_state_dict(counts | kept | state_dict, strict=strict, assign=assign)


class InceptionTrunkExtractor(InceptionExtractor):
    """The same network with Keras's ImageNet weights up to Mixed_6e: features "768".

    Args:
        name: the name it is registered under.
        features_list: the requested layers; "768" is the last there is.
        feature_extractor_weights_path: file of ``weights.INCEPTION_KERAS``.
        kwargs: torch-fidelity's other settings.
    """

    absent = ("Mixed_7", "fc.")

    def __init__(
        self, name: str, features_list: list[str], feature_extractor_weights_path: str | Path, **kwargs: Any
    ) -> None:
        super().__init__(name, features_list, feature_extractor_weights_path, **kwargs)
        # Without weights of their own; a pass that came to them would return noise.
        del self.Mixed_7a, self.Mixed_7b, self.Mixed_7c, self.fc

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The requested features of uint8 images ``(N, 3, H, W)``."""
        return super().forward(images)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """The layers there are."""
        return "64", "192", "768"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """The last layer, for any metric of torch-fidelity."""
        return "768"
