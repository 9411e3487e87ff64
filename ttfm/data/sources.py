"""Source distributions: what t = 0 is, beside the standard normal. Each is a transform of standard normal draws, so
that all of them share the same noise, in training and in evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Protocol

import numpy as np
import torch
from torch import Tensor

from ttfm.options import Count, Positive, Range
from ttfm.pieces import at_once
from ttfm.seeds import generator

Draw = Callable[[int], Tensor]
"""The j-th of several independent standard normal draws for the same samples, each ``(B, *shape)``."""

MEASURED = 4096
"""Data points from which norms and directions are taken."""


class Sampled(Protocol):
    """What a source asks of a data set."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` data points, shape ``(count, *shape)``."""


class Source(Protocol):
    """A distribution of states at t = 0."""

    def sample(self, draw: Draw) -> Tensor:
        """States at t = 0, shape ``(B, *shape)`` as what ``draw`` returns."""


class Gaussian:
    """The standard normal distribution; it asks nothing of the data."""

    def __init__(self, data: Sampled | None = None):
        pass

    def sample(self, draw: Draw) -> Tensor:
        """The first draw itself."""
        return draw(0)


class NormAligned:
    """A normal distribution whose root mean square norm is that of the data (arXiv 2512.18184).

    Args:
        data: the problem's data.
        scale: factor on the data's norm.
    """

    def __init__(self, data: Sampled, scale: Positive = 1.0):
        squares = torch.cat([points.square().sum(1) for points in _measured(data)])
        self.factor = scale * squares.mean().sqrt().item() / math.sqrt(_dimension(data))

    def sample(self, draw: Draw) -> Tensor:
        """The first draw, scaled."""
        return draw(0) * self.factor


class Pruned:
    """The standard normal distribution without the directions in which there is no data nearby.

    A direction is kept if its cosine with that of some data point reaches a threshold: the quantile of the cosine of a
    random direction with its nearest data. The idea is that of arXiv 2512.18184; how sparse directions are found is a
    reconstruction. A pruned sample is replaced by its next draw that is kept.

    Args:
        data: the problem's data.
        pruned: share of the directions that is left out.
        points: data points whose directions count.
        draws: draws after which a sample is kept as it is.
    """

    def __init__(
        self,
        data: Sampled,
        pruned: Annotated[float, Range(0, 1, open_="high")] = 0.25,
        points: Count = 1024,
        draws: Count = 32,
    ):
        self.draws = draws
        self.directions = torch.nn.functional.normalize(torch.cat([*_measured(data, points)])[:points], dim=1)
        source, dimension = generator(0, "source-directions"), self.directions.shape[1]
        probes = (torch.randn(count, dimension, generator=source) for count in _counts(dimension))
        self.threshold = torch.cat([self._nearest(probe) for probe in probes]).quantile(pruned).item()

    def _nearest(self, x: Tensor) -> Tensor:
        """Cosine of each state's direction with the nearest data direction, shape ``(B,)``."""
        return (torch.nn.functional.normalize(x.flatten(1), dim=1) @ self.directions.to(x).T).amax(1)

    def sample(self, draw: Draw) -> Tensor:
        """The first draw of each sample whose direction is kept."""
        x = draw(0)
        for j in range(1, self.draws):
            lost = self._nearest(x) < self.threshold
            if not lost.any():
                break
            x = torch.where(lost.reshape(-1, *[1] * (x.ndim - 1)), draw(j), x)
        return x


class PFGM:
    r"""The prior of PFGM++ (Xu et al., arXiv 2302.04265): directions uniform, radii heavy-tailed.

    .. math:: p(R) \propto R^{n-1} (R^2 + r^2)^{-(n+D)/2}, \quad r = \sqrt{D}

    in n dimensions; the standard normal distribution as D grows. The radius of a normal draw is carried over by the
    monotone map between the two radial distributions. Only the prior is taken over: the path from it to the data is the
    linear one of all problems here, not the electric field's.

    Args:
        data: the problem's data; only its dimension counts.
        dimensions: D, the augmented dimensions.
    """

    def __init__(self, data: Sampled, dimensions: Count = 128):
        from scipy import stats

        n = _dimension(data)
        level = np.linspace(0, 1, 4097)[1:-1]
        share = stats.beta.ppf(level, n / 2, dimensions / 2)
        self.normal = torch.from_numpy(stats.chi.ppf(level, n))
        self.heavy = torch.from_numpy(np.sqrt(dimensions * share / (1 - share)))

    def sample(self, draw: Draw) -> Tensor:
        """The first draw with its radius carried over; beyond the table's ends in proportion."""
        x = draw(0)
        radius = x.flatten(1).norm(dim=1)
        normal, heavy = self.normal.to(radius), self.heavy.to(radius)
        inside = radius.clamp(normal[0], normal[-1])
        right = torch.searchsorted(normal, inside).clamp(1, len(normal) - 1)
        share = (inside - normal[right - 1]) / (normal[right] - normal[right - 1])
        carried = torch.lerp(heavy[right - 1], heavy[right], share) / inside
        return x * carried.reshape(-1, *[1] * (x.ndim - 1))


def _dimension(data: Sampled) -> int:
    """Numbers of one data point."""
    return data.sample(1, generator(0, "source-dimension")).numel()


def _counts(dimension: int) -> list[int]:
    """How ``MEASURED`` points are drawn: all at once, or piece by piece where they are large."""
    size = at_once((dimension,), MEASURED)
    return [min(size, MEASURED - start) for start in range(0, MEASURED, size)]


def _measured(data: Sampled, enough: int = MEASURED) -> Iterator[Tensor]:
    """Pieces of at least ``enough`` of ``MEASURED`` data points, flattened, ``(count, dimensions)``, float32."""
    source, drawn = generator(0, "source-measured"), 0
    for count in _counts(_dimension(data)):
        if drawn < enough:
            drawn += count
            yield data.sample(count, source).flatten(1)


SOURCES: dict[str, type] = {"gaussian": Gaussian, "norm_aligned": NormAligned, "pruned": Pruned, "pfgm": PFGM}
