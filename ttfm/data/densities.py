"""Two-dimensional densities that can be sampled without end."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from ttfm.flow.fields import GaussianMixtureField, ring_means
from ttfm.options import Count, Positive, Range


class Ring:
    """Equally weighted isotropic Gaussians on a circle; its marginal velocity is known in closed form.

    Args:
        modes: number of Gaussians.
        radius: radius of the circle their means lie on.
        std: their common standard deviation.
    """

    kind = "points"
    shape = (2,)
    closed_form = True
    available = None

    def __init__(self, modes: Count = 8, radius: Positive = 2.0, std: Positive = 0.15):
        self.means = ring_means(modes, radius)
        self.std = std

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` points, shape ``(count, 2)``."""
        device = generator.device
        # Once: a copy to a GPU waits for all that it has to do.
        self.means = self.means.to(device)
        mode = torch.randint(len(self.means), (count,), generator=generator, device=device)
        return self.means[mode] + self.std * torch.randn(count, 2, generator=generator, device=device)

    def field(self) -> GaussianMixtureField:
        """The exact marginal velocity of the linear path from N(0, I) to this density."""
        return GaussianMixtureField(self.means, self.std)


class Checkerboard:
    """The uniform density on alternate cells of a chequered square.

    Args:
        cells: cells along each side, an even number.
        half_width: the square is [-half_width, half_width]^2.
    """

    kind = "points"
    shape = (2,)
    closed_form = False
    available = None

    def __init__(self, cells: Annotated[int, Range(2, multiple_of=2)] = 4, half_width: Positive = 2.0):
        self.cells = cells
        self.half_width = half_width

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` points, shape ``(count, 2)``."""
        device = generator.device
        column = torch.randint(self.cells, (count,), generator=generator, device=device)
        # Cells (column, row) with column + row even: every other row, shifted by the column's parity.
        half_row = torch.randint((self.cells + 1) // 2, (count,), generator=generator, device=device)
        row = (2 * half_row + column % 2) % self.cells
        corner = torch.stack([column, row], dim=1).float()
        inside = torch.rand(count, 2, generator=generator, device=device)
        return (corner + inside) * (2 * self.half_width / self.cells) - self.half_width

    def probabilities(self, bins: int) -> Tensor:
        """Exact probabilities of the cells of a grid on the square, shape ``(bins, bins)``, first axis x.

        Raises:
            ValueError: if ``bins`` is no multiple of ``cells``.
        """
        if bins % self.cells:
            raise ValueError(f"cells: a grid of {bins} x {bins} is no refinement of {self.cells} x {self.cells} cells")
        index = torch.arange(bins, dtype=torch.float64) * self.cells // bins
        dark = ((index[:, None] + index) % 2 == 0).double()
        return dark / dark.sum()


class Moons:
    """Two interleaved half circles with Gaussian noise, centred on the origin.

    Args:
        radius: radius of the half circles.
        std: standard deviation of the noise.
    """

    kind = "points"
    shape = (2,)
    closed_form = False
    available = None

    def __init__(self, radius: Positive = 1.6, std: Positive = 0.08):
        self.radius = radius
        self.std = std

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` points, shape ``(count, 2)``."""
        device = generator.device
        angle = math.pi * torch.rand(count, generator=generator, device=device)
        upper = torch.rand(count, generator=generator, device=device) < 0.5
        sign = torch.where(upper, 1.0, -1.0)
        # The lower half circle is the upper one turned by half a turn about the origin.
        points = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1) * sign[:, None]
        return self.radius * points + self.std * torch.randn(count, 2, generator=generator, device=device)


class Spirals:
    """Two arms of an Archimedean spiral with Gaussian noise.

    Args:
        turns: turns of each arm.
        radius: distance of the arms' ends from the origin.
        std: standard deviation of the noise.
    """

    kind = "points"
    shape = (2,)
    closed_form = False
    available = None

    def __init__(self, turns: Positive = 1.5, radius: Positive = 2.2, std: Positive = 0.06):
        self.turns = turns
        self.radius = radius
        self.std = std

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` points, shape ``(count, 2)``."""
        device = generator.device
        # The square root spreads the points evenly along the arm, whose length grows with the square of the angle.
        along = torch.rand(count, generator=generator, device=device).sqrt()
        arm = torch.where(torch.rand(count, generator=generator, device=device) < 0.5, 1.0, -1.0)
        angle = 2 * math.pi * self.turns * along
        points = (arm * along)[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
        return self.radius * points + self.std * torch.randn(count, 2, generator=generator, device=device)
