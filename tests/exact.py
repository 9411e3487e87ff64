"""Flows whose maps are known, as networks: the yardsticks of the loss tests."""

from dataclasses import replace
from itertools import pairwise

import torch
from torch import nn

from ttfm.flow.fields import GaussianMixtureField, LinearGaussianField
from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.losses import Batch


class Exact(nn.Module):
    """The exact average velocity as a network without parameters."""

    def __init__(self, field):
        super().__init__()
        self.field = field

    def forward(self, s, t, x):
        return self.field.average_velocity(s, t, x)


class Solved(nn.Module):
    """The average velocity of any field's flow: the mean slope of RK4 on equal parts of [s, t].

    It never divides by t - s, is the field itself on the diagonal, and carries tangents of s, t and x.
    """

    def __init__(self, field, steps=16):
        super().__init__()
        self.field = field
        self.steps = steps

    def forward(self, s, t, x):
        h = (t - s) / self.steps
        width, total = expand(h, x), 0.0
        for k in range(self.steps):
            now = s + k * h
            k1 = self.field(now, x)
            k2 = self.field(now + h / 2, x + width / 2 * k1)
            k3 = self.field(now + h / 2, x + width / 2 * k2)
            k4 = self.field(now + h, x + width * k3)
            slope = (k1 + 2 * k2 + 2 * k3 + k4) / 6
            x, total = x + width * slope, total + slope
        return total / self.steps


def linear_gaussian(mean=(0.0, 0.0), std=0.3):
    field = LinearGaussianField(torch.tensor(mean, dtype=torch.float64), std)
    return field, FlowMap(Exact(field))


def mixture(steps=16):
    """Three unequal Gaussians, near enough to each other for few steps of RK4 to be exact: 16 to about 1e-5."""
    means = torch.tensor([[-0.8, 0.0], [0.6, 0.7], [0.5, -0.8]], dtype=torch.float64)
    field = GaussianMixtureField(means, 0.4, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))
    return field, FlowMap(Solved(field, steps))


class Translation:
    """Standard normal noise that moves as a whole: straight paths of constant velocity to N(mean, I)."""

    def __init__(self, mean):
        self.means, self.std, self.log_weights = mean[None], 1.0, torch.zeros(1, dtype=mean.dtype)

    def __call__(self, t, x):
        return self.means[0].expand_as(x)

    def average_velocity(self, s, t, x):
        return self(s, x)


def translation(mean=(0.5, -1.0)):
    field = Translation(torch.tensor(mean, dtype=torch.float64))
    return field, FlowMap(Exact(field))


def make_batch(field, count=4096, seed=0, dtype=torch.float64, progress=0.0, offline=False):
    """Independent noise and data of a mixture, and ordered pairs of times; ``offline``: a Gaussian's trajectories."""
    generator = torch.Generator().manual_seed(seed)
    dimension = field.means.shape[1]
    x0 = torch.randn(count, dimension, generator=generator, dtype=dtype)
    component = torch.multinomial(field.log_weights.exp(), count, replacement=True, generator=generator)
    x1 = field.means.to(dtype)[component]
    x1 = x1 + field.std * torch.randn(count, dimension, generator=generator, dtype=dtype)
    s, t = torch.rand(2, count, generator=generator, dtype=dtype).sort(dim=0).values
    batch = Batch(x0, x1, s, t, generator, progress)
    return with_path(batch, FlowMap(Exact(field)), 9) if offline else batch


@torch.no_grad()
def with_path(batch, exact, points=17):
    """``batch`` with the trajectories of its noise at ``points`` times, whose ends become its data."""
    times = torch.linspace(0, 1, points, dtype=batch.x0.dtype)
    path = [batch.x0]
    for now, then in pairwise(times):
        column = torch.ones_like(batch.s)
        path.append(exact(now * column, then * column, path[-1]))
    return replace(batch, times=times, path=torch.stack(path), x1=path[-1])
