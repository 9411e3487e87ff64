"""DINOv2 (arXiv 2304.07193) as torch-fidelity prepares images for it, from checked weights and pinned code."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

from ttfm.evaluation import weights

CODE = "facebookresearch/dinov2:e1277af2ba9496fbadf7aec6eba56e8d882d1e35"
"""The network's code is not in a package: torch hub takes it from its cache, or from GitHub at this commit."""


class DinoV2Extractor(FeatureExtractorDinoV2):
    """uint8 ``(N, 3, H, W)`` images, resized to 224 pixels by torch-fidelity, to features "dinov2".

    Args:
        name: "dinov2-vits14" (384 features) or "dinov2-vitl14" (1,024).
        features_list: the requested layers; "dinov2" is the only one.
        feature_extractor_weights_path: file of ``weights.DINOV2_SMALL`` or ``weights.DINOV2_LARGE``.
        kwargs: torch-fidelity's other settings, of which none applies.

    Raises:
        ttfm.evaluation.weights.AssetUnavailable: if the code is neither in torch hub's cache nor to be had.
        ValueError: naming the file, if it holds other weights.
    """

    def __init__(
        self, name: str, features_list: list[str], feature_extractor_weights_path: str | Path, **kwargs: Any
    ) -> None:
        # torch-fidelity's own constructor takes weights from nowhere but the network, and code at any commit.
        FeatureExtractorBase.__init__(self, name, features_list)
        self.feature_extractor_internal_dtype = torch.float32
        os.environ["XFORMERS_DISABLED"] = "1"
        try:
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="xFormers is")
                # The commit is pinned, which is what hub's questions about trust and forks are for.
                self.model = torch.hub.load(
                    CODE,
                    name.replace("-", "_"),
                    pretrained=False,
                    trust_repo=True,
                    skip_validation=True,
                    verbose=False,
                )
        except (OSError, ImportError) as error:
            raise weights.AssetUnavailable(
                f"the code of DINOv2 ({CODE}) is not in torch hub's cache and could not be downloaded ({error})"
            ) from error
        try:
            self.model.load_state_dict(weights.load(Path(feature_extractor_weights_path)))
        except RuntimeError as error:
            raise ValueError(f"{feature_extractor_weights_path}: not the weights of {name} ({error})") from error
        self.requires_grad_(False)
        self.eval()
