"""What becomes of generated states before they are looked at: latents are decoded, images are images already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from ttfm.latent.autoencoder import Autoencoder

Decode = Callable[["Tensor"], "Tensor"]
"""From states ``(N, *shape)`` to images ``(N, C, H, W)``, about in [-1, 1]."""

AUTOENCODER = "autoencoder.safetensors"
"""The autoencoder's weights, beside the latents that it made."""


def image_shape(config: dict[str, Any]) -> list[int]:
    """Shape ``[C, H, W]`` of what a resolved config's states are decoded to; their own where they are images."""
    return config.get("latent", {}).get("images", config["shape"])


def decoder(config: dict[str, Any], folder: Path | None, device: str) -> Decode:
    """How states become images.

    Args:
        config: a resolved config.
        folder: the one given by ``--images``.
        device: where to decode; what is returned is on the CPU.

    Raises:
        ValueError: if a problem in latent space has no folder of latents, or that is damaged.
    """
    if "latent" not in config:
        return lambda states: states
    from ttfm.data.latents import is_latents

    if folder is None or not is_latents(folder):
        raise ValueError(
            "the problem is in latent space; give --images, the folder that `python -m ttfm latents` wrote"
        )
    return load_autoencoder(folder, device).decode


def load_autoencoder(folder: Path, device: str) -> Autoencoder:
    """The autoencoder that made the latents of a folder."""
    from ttfm.data.arrays import ABOUT
    from ttfm.data.latents import checked
    from ttfm.files import read_json
    from ttfm.latent.autoencoder import restore

    about = read_json(folder / ABOUT)["latents"]
    return restore(checked(folder, AUTOENCODER), about["config"], about["scale"], about["shift"], device)
