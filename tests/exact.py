"""A linear-Gaussian flow whose map is known, as a network: the yardstick of the loss tests."""

import torch
from torch import nn

from ttfm.flow.fields import LinearGaussianField
from ttfm.flow.flow_map import FlowMap
from ttfm.losses import Batch


class Exact(nn.Module):
    """The exact average velocity as a network without parameters."""

    def __init__(self, field):
        super().__init__()
        self.field = field

    def forward(self, s, t, x):
        return self.field.average_velocity(s, t, x)


def linear_gaussian(mean=(0.0, 0.0), std=0.3):
    field = LinearGaussianField(torch.tensor(mean, dtype=torch.float64), std)
    return field, FlowMap(Exact(field))


def make_batch(field, count=4096, seed=0, dtype=torch.float64, offline=False, progress=0.0):
    """A batch; ``offline`` adds the exact trajectories from x0 on 9 equidistant times, x1 being their ends."""
    generator = torch.Generator().manual_seed(seed)
    dimension = field.means.shape[1]
    x0 = torch.randn(count, dimension, generator=generator, dtype=dtype)
    x1 = field.means[0].to(dtype) + field.std * torch.randn(count, dimension, generator=generator, dtype=dtype)
    s, t = torch.rand(2, count, generator=generator, dtype=dtype).sort(dim=0).values
    if not offline:
        return Batch(x0, x1, s, t, generator, progress)
    times = torch.linspace(0, 1, 9, dtype=dtype)
    path = torch.stack([field.flow_map(torch.zeros_like(s), time.expand(count), x0) for time in times])
    return Batch(x0, path[-1], s, t, generator, progress, times, path)
