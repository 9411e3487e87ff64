"""Networks from images to features, behind torch-fidelity's interface: all take uint8 ``(N, 3, H, W)``.

Importing this package registers them with torch-fidelity. None of them resizes anything beforehand: what a network does
with the size of its input is part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from ttfm.evaluation.extractors.digits import DigitsExtractor
from ttfm.evaluation.extractors.dinov2 import DinoV2Extractor
from ttfm.evaluation.extractors.inception import InceptionExtractor, InceptionTrunkExtractor
from ttfm.evaluation.extractors.resnet56 import ResNet56Extractor


@dataclass(frozen=True)
class Extractor:
    """A network and where its weights come from.

    Attributes:
        network: the class that torch-fidelity knows it by.
        layers: the layers that metrics here read; the first holds the features.
        batch: images per pass that keep it below a gigabyte of memory on the CPU.
    """

    network: type[FeatureExtractorBase]
    layers: tuple[str, ...]
    batch: int


EXTRACTORS = {
    "digits-classifier": Extractor(DigitsExtractor, ("64",), 512),
    "cifar-resnet56": Extractor(ResNet56Extractor, ("64",), 256),
    "inception-keras-768": Extractor(InceptionTrunkExtractor, ("768",), 32),
    "inception-v3-compat": Extractor(InceptionExtractor, ("2048", "logits_unbiased"), 32),
    "dinov2-vits14": Extractor(DinoV2Extractor, ("dinov2",), 32),
    "dinov2-vitl14": Extractor(DinoV2Extractor, ("dinov2",), 16),
}
"""Every extractor by the name that tables use."""

for _name, _extractor in EXTRACTORS.items():
    # torch-fidelity refuses a second registration, which a reload would be, and has inception-v3-compat of its own:
    # ours is the same network, whose weights are loaded without executing code of their file.
    FEATURE_EXTRACTORS_REGISTRY.pop(_name, None)
    register_feature_extractor(_name, _extractor.network)
