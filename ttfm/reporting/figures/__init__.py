"""One module per family of figures; every function takes tables or arrays and returns a matplotlib ``Figure``."""

from __future__ import annotations

from ttfm.reporting.figures.convergence import convergence
from ttfm.reporting.figures.cost import cost
from ttfm.reporting.figures.defects import defects
from ttfm.reporting.figures.families import families
from ttfm.reporting.figures.neighbours import neighbours
from ttfm.reporting.figures.quality import frechet_lpips, quality
from ttfm.reporting.figures.samples import Sampled, image_grid, samples, trajectories
from ttfm.reporting.figures.style import save
from ttfm.reporting.figures.training import training

__all__ = [
    "Sampled",
    "convergence",
    "cost",
    "defects",
    "families",
    "frechet_lpips",
    "image_grid",
    "neighbours",
    "quality",
    "samples",
    "save",
    "training",
    "trajectories",
]
