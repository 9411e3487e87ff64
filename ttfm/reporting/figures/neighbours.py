"""Generated images, each beside the training images that are nearest to it: are they copies?"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ttfm.reporting.figures.samples import Sampled, mosaic
from ttfm.reporting.figures.style import MAX_HEIGHT, WIDTH, short, styled
from ttfm.reporting.palette import INK, MUTED

_LABEL = 1.45
"""Inches for the names of the methods."""
_APART = 0.5
"""Between groups of a sample and its neighbours, in image sizes; twice as much between the halves."""


@styled
def neighbours(title: str, methods: Sequence[Sampled]) -> Figure:
    """A row per method: framed samples, each with its nearest training images to the right, closest first.

    The left half holds the first samples, the right half those closest to a training image.

    Args:
        title: the problem's title.
        methods: rows from top to bottom; their arrays ``samples`` ``(n, C, H, W)`` and ``nearest``
            ``(n, k, C, H, W)``, bytes, are drawn.
    """
    drawn = [method.arrays for method in methods if "samples" in method.arrays]
    groups = max((len(arrays["samples"]) for arrays in drawn), default=1)
    wide = 1 + max((arrays["nearest"].shape[1] for arrays in drawn), default=1)
    half = -(-groups // 2)
    # A group is as wide as its images with their gaps; what is left is shared out between the groups.
    units = groups * wide * 1.125 + (groups + 1) * _APART
    cell = min((WIDTH - _LABEL - 0.1) / units, (MAX_HEIGHT - 0.8) / (1.25 * len(methods)))
    pitch, group = 1.25 * cell, cell * wide * 1.125
    height = pitch * len(methods) + 0.8
    figure = Figure(figsize=(WIDTH, height))
    figure.suptitle(
        short(f"{title}: samples and their nearest training images", 62),
        x=0.01, y=1 - 0.08 / height, ha="left", va="top",
    )  # fmt: skip
    lefts = [_LABEL + i * (group + _APART * cell) + _APART * cell * (i >= half) for i in range(groups)]
    for i, words in ((0, "first samples"), (half, "closest of all")):
        if i < groups:
            figure.text(lefts[i] / WIDTH, 1 - 0.42 / height, words, va="top", size=9.5)
    for i, method in enumerate(methods):
        bottom = height - 0.72 - i * pitch - cell
        text = textwrap.fill(short(method.title, 36), 18)
        figure.text(0.01, (bottom + cell / 2) / height, text, va="center", size=8.5, linespacing=1)
        if "samples" not in method.arrays:
            text = textwrap.fill(short(method.reason or "no samples", 140), 72)
            figure.text(_LABEL / WIDTH, (bottom + cell / 2) / height, text, va="center", size=7.5, color=MUTED)
            continue
        for left, sample, near in zip(lefts, method.arrays["samples"], method.arrays["nearest"], strict=False):
            axes = figure.add_axes((left / WIDTH, bottom / height, group / WIDTH, cell / height))
            axes.set_axis_off()
            axes.imshow(mosaic(np.concatenate([sample[None], near]) / 127.5 - 1), interpolation="nearest")
            axes.set_anchor("W")
            side = sample.shape[-1]
            # The sample is the framed one.
            axes.plot(
                [-0.5, side - 0.5, side - 0.5, -0.5, -0.5], [-0.5, -0.5, side - 0.5, side - 0.5, -0.5],
                color=method.colour if method.mark else INK, linewidth=1.4, clip_on=False,
            )  # fmt: skip
    return figure
