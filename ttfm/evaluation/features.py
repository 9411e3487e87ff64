"""From bytes of images to feature vectors along one path: never resized before, one extractor per metric name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch_fidelity.utils import create_feature_extractor

from ttfm.evaluation.extractors import EXTRACTORS
from ttfm.files import sha256


def pieces(images: np.ndarray, batch: int, device: str = "cpu") -> Iterator[Tensor]:
    """Bytes ``(N, 1 or 3, H, W)`` in order, as colour images ``(B, 3, H, W)``; a mapped array is read piece by piece.

    Raises:
        ValueError: if ``images`` has another type or shape.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be uint8 (N, 1 or 3, H, W), not {images.dtype} {images.shape}")
    for start in range(0, len(images), batch):
        piece = torch.from_numpy(np.array(images[start : start + batch])).to(device)
        yield piece.expand(-1, 3, -1, -1)


@torch.no_grad()
def extract(
    images: np.ndarray, extractor: str, weights_path: str | Path, device: str = "cpu", batch: int | None = None
) -> dict[str, np.ndarray]:
    """Features of images, piece by piece.

    Args:
        images: bytes, shape ``(N, 1 or 3, H, W)``, uint8; grey ones are repeated. A mapped array stays on disk.
        extractor: one of ``EXTRACTORS``.
        weights_path: file of its weights.
        device: "cpu" or "cuda".
        batch: images per pass; by default what fits a gigabyte.

    Returns:
        For each layer of the extractor a float32 array of shape ``(N, features)``.

    Raises:
        ValueError: if there are no images, they have another type or shape, or the weights are damaged.
    """
    about = EXTRACTORS[extractor]
    if not len(images):
        raise ValueError("there are no images to take features of")
    path = Path(weights_path)
    network = _network(extractor, path, path.stat().st_mtime_ns, device)
    found: dict[str, np.ndarray] = {}
    start = 0
    for piece in pieces(images, batch or about.batch, device):
        for layer, values in zip(about.layers, network(piece), strict=True):
            # One array from the start: a list of pieces to concatenate would double the memory.
            kept = found.setdefault(layer, np.empty((len(images), values.shape[1]), dtype=np.float32))
            kept[start : start + len(piece)] = values.cpu().numpy()
        start += len(piece)
    return found


@lru_cache(maxsize=1)
def _network(extractor: str, weights_path: Path, _written: int, device: str) -> nn.Module:
    """The network of an extractor, kept: a step takes features of many sets by one. Another file is read anew."""
    settings = {"feature_extractor_weights_path": weights_path, "verbose": False}
    return create_feature_extractor(extractor, list(EXTRACTORS[extractor].layers), cuda=device != "cpu", **settings)


def extractor_name(extractor: str, weights_path: str | Path) -> str:
    """What a table calls an extractor: its name and the first eight digits of its weights' sha256."""
    return f"{extractor} {sha256(weights_path)[:8]}"
