"""LPIPS (Zhang et al., arXiv 1801.03924) with one of its three trunks, built from local files only."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ttfm.evaluation import weights
from ttfm.evaluation.checks import require_pairs
from ttfm.pieces import at_once

PAIRS, ROOM = 64, 2**21
"""Pairs per pass, and numbers of their images: a trunk's inner values, all of which are held, are 30 times as many."""
SMALLEST = 32
"""Images with a smaller side are enlarged to this one; the trunks need 16 (vgg), 17 (squeeze) and 31 pixels (alex)."""

TRUNKS = {net: weights.ASSETS[f"lpips-{net}"] for net in ("squeeze", "alex", "vgg")}
"""The weights of each trunk."""
HEADS = {
    "squeeze": "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
}
"""sha256 of the linear heads, version 0.1, which the package lpips brings."""


def load_lpips(trunk: str | Path, net: str = "squeeze") -> nn.Module:
    """LPIPS 0.1, in evaluation mode, on the CPU.

    Args:
        trunk: file of the trunk in torchvision's layout, e.g. from ``weights.find(TRUNKS[net])``.
        net: "squeeze", "alex" or "vgg".

    Raises:
        ValueError: naming the file, if it lacks weights of the trunk or they have other shapes.
        ttfm.evaluation.weights.DamagedAsset: naming the file, if the package brings other heads.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        import lpips

        # lpips asks torchvision for an untrained trunk with an argument of torchvision's old interface.
        warnings.filterwarnings("ignore", "The parameter 'pretrained' is deprecated", UserWarning)
        warnings.filterwarnings("ignore", "Arguments other than a weight enum or `None` for 'weights'", UserWarning)
        model = lpips.LPIPS(net=net, pnet_rand=True, pretrained=False, verbose=False)
    heads = weights.load(weights.checked(Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth", HEADS[net]))
    # Every head stands in the model twice: as lin0, lin1, ... and in their list, lins.
    model.load_state_dict(heads | {f"lins.{name.removeprefix('lin')}": value for name, value in heads.items()}, False)
    found = weights.load(Path(trunk))
    # lpips cuts torchvision's `features` into slices and keeps their numbers: slice2.3.squeeze.weight is
    # features.3.squeeze.weight.
    names = {name: "features." + name.split(".", 1)[1] for name in model.net.state_dict()}
    try:
        model.net.load_state_dict({name: found[source] for name, source in names.items()})
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{trunk}: not the weights of {TRUNKS[net].name} ({error})") from error
    return model.eval().requires_grad_(False)


def extractor_name(net: str = "squeeze") -> str:
    """What a table calls the network: package, version and trunk."""
    return f"lpips {version('lpips')} {net}"


@torch.no_grad()
def lpips_distance(model: nn.Module, x: Tensor, y: Tensor, batch: int | None = None) -> Tensor:
    """LPIPS of paired images.

    Grey images are repeated to three channels; those with a side below 32 pixels are enlarged (bilinear) until their
    smaller side has 32.

    Args:
        model: from :func:`load_lpips`; images are moved to its device.
        x: shape ``(N, C, H, W)``, C in {1, 3}, in [-1, 1].
        y: the images compared with, same shape.
        batch: pairs per pass; by default 64, and fewer of images larger than 104 x 104 in colour.

    Returns:
        Distances, shape ``(N,)``, float32, on the CPU.

    Raises:
        ValueError: if the shapes differ or are not those of images, or a value is not finite.
    """
    require_pairs(x, y)
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"LPIPS takes images (N, 1 or 3, H, W), not {tuple(x.shape)}")
    device = next(model.parameters()).device
    batch = batch or at_once(x.shape[1:], PAIRS, ROOM)
    pieces = zip(x.split(batch), y.split(batch), strict=True)
    return torch.cat([model(_prepared(a.to(device)), _prepared(b.to(device))).flatten().cpu() for a, b in pieces])


def mean_lpips(model: nn.Module, x: np.ndarray, y: np.ndarray, batch: int | None = None) -> float:
    """Mean LPIPS of paired images as bytes ``(N, 1 or 3, H, W)``; mapped arrays are read piece by piece.

    Raises:
        ValueError: if the shapes differ or are not those of images.
    """
    if x.shape != y.shape or not len(x):
        raise ValueError(f"paired images need one common, non-empty shape, not {x.shape} and {y.shape}")
    batch = batch or at_once(x.shape[1:], PAIRS, ROOM)
    total = 0.0
    for start in range(0, len(x), batch):
        a, b = (torch.from_numpy(np.array(z[start : start + batch])).float() / 127.5 - 1 for z in (x, y))
        total += lpips_distance(model, a, b, batch).double().sum().item()
    return total / len(x)


def _prepared(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    height, width = images.shape[2:]
    if (smaller := min(height, width)) < SMALLEST:
        size = (round(height * SMALLEST / smaller), round(width * SMALLEST / smaller))
        images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
    return images
