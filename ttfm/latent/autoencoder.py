"""diffusers' AutoencoderKL between images and latents, in pieces of a fixed size and in full precision."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ttfm.files import read_json
from ttfm.latent.finding import CLASS, CONFIG, MISSING, WEIGHTS, config_faults, scale_and_shift

PIXELS = 2**19
"""Pixels that pass at once, eight images of 256 x 256: a fixed number, so that no result depends on the machine."""


@dataclass(frozen=True)
class Autoencoder:
    r"""Latents :math:`z = (e - shift) \cdot scale` of what the encoder puts out, e, as diffusers has them.

    Attributes:
        model: diffusers' ``AutoencoderKL``.
        config: content of its ``config.json``.
        scale: factor, which gives latents a standard deviation near one (Rombach et al., arXiv 2112.10752).
        shift: what is taken off before.
    """

    model: nn.Module
    config: dict[str, Any]
    scale: float
    shift: float

    @property
    def factor(self) -> int:
        """Sides of an image in sides of its latent."""
        return 2 ** (len(self.config["block_out_channels"]) - 1)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the posterior of latents.

        Args:
            images: in [-1, 1], shape ``(N, C, H, W)``.

        Returns:
            Both of shape ``(N, c, h, w)``, on the CPU.
        """
        mean, std = [], []
        for piece in self._pieces(images, 1):
            posterior = self.model.encode(piece).latent_dist  # type: ignore[operator]
            mean.append(((posterior.mean - self.shift) * self.scale).cpu())
            std.append((posterior.std * self.scale).cpu())
        return torch.cat(mean), torch.cat(std)

    def decode(self, latents: Tensor) -> Tensor:
        """Images ``(N, C, H, W)``, about in [-1, 1], on the CPU, of latents ``(N, c, h, w)``."""
        pieces = self._pieces(latents, self.factor)
        return torch.cat([self.model.decode(z / self.scale + self.shift).sample.cpu() for z in pieces])  # type: ignore[operator]

    def _pieces(self, x: Tensor, factor: int) -> Iterator[Tensor]:
        """Pieces of states on the model's device; ``factor`` of their sides are those of an image."""
        device = next(self.model.parameters()).device
        height, width = x.shape[2] * factor, x.shape[3] * factor
        return (piece.to(device) for piece in x.detach().split(max(1, PIXELS // (height * width))))


def load_pretrained(folder: Path, latent: dict[str, Any], colours: int) -> Autoencoder:
    """The autoencoder of a folder that diffusers wrote.

    Args:
        folder: with ``config.json`` and the weights as safetensors.
        latent: the problem's entry.
        colours: channels of the images.

    Raises:
        ValueError: if diffusers is not installed, the autoencoder does not fit, or its weights are damaged.
    """
    config = read_json(folder / CONFIG)
    if faults := config_faults(latent, config, colours):
        raise ValueError(f"{folder}: latent.{'; latent.'.join(faults)}")
    try:
        # Through diffusers, which knows the names that layers had in older files.
        model = _class().from_pretrained(folder, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False)
    except Exception as error:  # of many kinds, which differ between versions
        raise ValueError(f"{folder / WEIGHTS}: not the weights of the autoencoder in {CONFIG} ({error})") from error
    return Autoencoder(_fixed(model), config, *scale_and_shift(latent, config))


def restore(weights: Path, config: dict[str, Any], scale: float, shift: float, device: str) -> Autoencoder:
    """An autoencoder from the weights of ``model.state_dict()`` and what else :class:`Autoencoder` says of it."""
    from safetensors.torch import load_file

    model = _class().from_config(config)
    model.load_state_dict(load_file(weights))
    return Autoencoder(_fixed(model).to(device), config, scale, shift)


def _fixed(model: nn.Module) -> nn.Module:
    return model.float().eval().requires_grad_(False)


def _class() -> Any:
    try:
        import diffusers
    except ModuleNotFoundError:
        raise ValueError(MISSING) from None
    # Advice on packages that are not wanted here.
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    return getattr(diffusers, CLASS)
