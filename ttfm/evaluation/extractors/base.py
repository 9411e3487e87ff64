"""What our own extractors share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase


class SmallExtractor(FeatureExtractorBase):
    """A network with one layer of features for images of one size.

    Attributes:
        layer: name of the layer.
        side: height and width of the images.
    """

    layer: str
    side: int

    def require_images(self, images: Tensor) -> None:
        """Check what torch-fidelity passes.

        Raises:
            ValueError: if ``images`` is not uint8 of shape ``(N, 3, side, side)``.
        """
        if images.dtype != torch.uint8 or images.shape[1:] != (3, self.side, self.side):
            raise ValueError(
                f"uint8 images (N, 3, {self.side}, {self.side}) are needed, not {images.dtype} {tuple(images.shape)}: "
                f"{self.get_name()} was trained on that size"
            )

    @classmethod
    def get_provided_features_list(cls) -> tuple[str, ...]:
        """The layers there are."""
        return (cls.layer,)

    @classmethod
    def get_default_feature_layer_for_metric(cls, metric: str) -> str:
        """The layer for any metric of torch-fidelity."""
        return cls.layer

    @staticmethod
    def can_be_compiled() -> bool:
        """Too small to gain anything from torch.compile."""
        return False

    @classmethod
    def get_dummy_input_for_compile(cls) -> Tensor:
        """An input of the right kind."""
        return torch.zeros(1, 3, cls.side, cls.side, dtype=torch.uint8)
