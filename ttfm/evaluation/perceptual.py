"""LPIPS with a SqueezeNet trunk (Zhang et al., arXiv 1801.03924), built from local files only."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ttfm.evaluation import weights
from ttfm.evaluation.checks import require_pairs

SMALLEST = 32
"""Images with a smaller side are enlarged to this one; the trunk itself needs 17 pixels."""


def load_lpips(trunk: str | Path) -> nn.Module:
    """LPIPS 0.1, ``net="squeeze"``, in evaluation mode, on the CPU.

    The linear heads ship inside the package lpips; only the trunk is needed.

    Args:
        trunk: file of torchvision's squeezenet1_1, e.g. from ``weights.find(weights.SQUEEZENET)``.

    Raises:
        ValueError: naming the file, if it lacks weights of the trunk or they have other shapes.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        import lpips

        # lpips asks torchvision for an untrained trunk with an argument of torchvision's old interface.
        warnings.filterwarnings("ignore", "The parameter 'pretrained' is deprecated", UserWarning)
        warnings.filterwarnings("ignore", "Arguments other than a weight enum or `None` for 'weights'", UserWarning)
        model = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    found = weights.load(Path(trunk))
    # lpips cuts torchvision's `features` into slices and keeps their numbers: slice2.3.squeeze.weight is
    # features.3.squeeze.weight.
    names = {name: "features." + name.split(".", 1)[1] for name in model.net.state_dict()}
    try:
        model.net.load_state_dict({name: found[source] for name, source in names.items()})
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{trunk}: not the weights of squeezenet1_1 ({error})") from error
    return model.eval().requires_grad_(False)


def extractor_name() -> str:
    """What a table calls the network: package, version and trunk."""
    return f"lpips {version('lpips')} squeeze"


@torch.no_grad()
def lpips_distance(model: nn.Module, x: Tensor, y: Tensor, batch: int = 64) -> Tensor:
    """LPIPS of paired images.

    Grey images are repeated to three channels; those with a side below 32 pixels are enlarged (bilinear) until their
    smaller side has 32.

    Args:
        model: from :func:`load_lpips`; images are moved to its device.
        x: shape ``(N, C, H, W)``, C in {1, 3}, in [-1, 1].
        y: the images compared with, same shape.
        batch: pairs per pass.

    Returns:
        Distances, shape ``(N,)``, float32, on the CPU.

    Raises:
        ValueError: if the shapes differ or are not those of images, or a value is not finite.
    """
    require_pairs(x, y)
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"LPIPS takes images (N, 1 or 3, H, W), not {tuple(x.shape)}")
    device = next(model.parameters()).device
    pieces = zip(x.split(batch), y.split(batch), strict=True)
    return torch.cat([model(_prepared(a.to(device)), _prepared(b.to(device))).flatten().cpu() for a, b in pieces])


def _prepared(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    height, width = images.shape[2:]
    if (smaller := min(height, width)) < SMALLEST:
        size = (round(height * SMALLEST / smaller), round(width * SMALLEST / smaller))
        images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
    return images
