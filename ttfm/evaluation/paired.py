"""Errors of samples against others that they pair up with: what training follows and the tables show."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from ttfm.evaluation.checks import require_pairs
from ttfm.pieces import at_once

ROUNDING = 1 / 12
"""Mean square of the error of rounding to whole levels."""
DIVERGED = 10.0
"""Samples, or errors of them, larger than this many times the teacher's samples, by root mean square, have diverged.
The identity has about one time their size, and the worst student that has learned anything a few."""


def endpoint_rmse(x: Tensor, y: Tensor) -> float:
    r"""The root mean square distance :math:`(\frac1N \sum_i |x_i - y_i|^2)^{1/2}` of paired samples ``(N, *shape)``.

    Raises:
        ValueError: if the shapes differ, are empty, or a value is not finite.
    """
    require_pairs(x, y)
    return math.sqrt(_squares(x, y) / len(x))


def l2(x: Tensor, y: Tensor) -> float:
    """The root mean square difference per entry (pixel) of paired samples ``(N, *shape)``.

    Raises:
        ValueError: if the shapes differ, are empty, or a value is not finite.
    """
    require_pairs(x, y)
    return math.sqrt(_squares(x, y) / x.numel())


def _squares(x: Tensor, y: Tensor) -> float:
    """The sum of all squared differences; in pieces, since in float64 they take several times the samples' memory."""
    size = at_once(x.shape[1:], len(x))
    pairs = zip(x.split(size), y.split(size), strict=True)
    return sum((a.double() - b.double()).square().sum().item() for a, b in pairs)


def squared_errors(x: np.ndarray, y: np.ndarray, batch: int | None = None) -> np.ndarray:
    """The mean squared difference of each pair of images, in squared byte levels.

    Args:
        x: bytes, shape ``(N, *shape)``, uint8; a mapped array is read piece by piece.
        y: the images compared with, same shape.
        batch: pairs held at once; by default 1,024, and fewer of images larger than 73 x 73 in colour.

    Returns:
        Shape ``(N,)``, float64.

    Raises:
        ValueError: if an array is not of bytes, or the shapes differ or are empty.
    """
    if x.dtype != np.uint8 or y.dtype != np.uint8 or x.shape != y.shape or not x.size:
        raise ValueError(
            f"paired images need one common, non-empty shape of bytes, not {x.dtype} {x.shape} and {y.dtype} {y.shape}"
        )
    batch = batch or at_once(x.shape[1:], 1024)
    found = np.empty(len(x))
    for start in range(0, len(x), batch):
        a, b = (np.asarray(z[start : start + batch], dtype=np.float64) for z in (x, y))
        found[start : start + batch] = np.square(a - b).reshape(len(a), -1).mean(axis=1)
    return found


def image_l2(x: np.ndarray, y: np.ndarray) -> float:
    """The root mean square difference per pixel of paired images, of a range of 2 from black to white.

    Args:
        x: bytes, shape ``(N, *shape)``, uint8.
        y: the images compared with, same shape.

    Raises:
        ValueError: as :func:`squared_errors`.
    """
    return float(np.sqrt(squared_errors(x, y).mean()) / 127.5)


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    r"""The peak signal-to-noise ratio :math:`10 \log_{10} (255^2 / MSE_i)` in dB, mean over paired images.

    Two images that are equal as bytes may still differ by less than bytes can tell: an error below that of rounding,
    1/12 of a squared level, counts as that. No ratio is above 58.9 dB.

    Args:
        x: bytes, shape ``(N, *shape)``, uint8.
        y: the images compared with, same shape.

    Raises:
        ValueError: as :func:`squared_errors`.
    """
    errors = np.maximum(squared_errors(x, y), ROUNDING)
    return float((10 * np.log10(255**2 / errors)).mean())
