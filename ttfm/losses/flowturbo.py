"""FlowTurbo: a light refiner of the teacher's velocity, and a sampler that uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, register, squared_norm
from ttfm.networks.embeddings import TimeEmbedding
from ttfm.options import Count, Fraction, Positive


class Refiner(nn.Module):
    """How the velocity changes over a step, from the state after it and the velocity before it.

    Points go through a small perceptron, images through two convolutions; the last layer starts at zero.

    Args:
        shape: shape of one state, ``(C, *positions)``.
        width: hidden units or channels.
    """

    def __init__(self, shape: tuple[int, ...], width: int):
        super().__init__()
        self.time = TimeEmbedding(width)
        layer: Callable[[int, int], nn.Module] = nn.Linear
        if len(shape) == 3:
            layer = lambda i, o: nn.Conv2d(i, o, 3, padding=1)  # noqa: E731
        self.first, self.hidden, self.last = layer(2 * shape[0], width), layer(width, width), layer(width, shape[0])
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, s: Tensor, t: Tensor, x: Tensor, v: Tensor) -> Tensor:
        """The change of velocity ``(B, *shape)`` from time s to t ``(B,)``, state x at t, velocity v at s."""
        embedding = self.time(s, t)
        h = self.first(torch.cat([x, v], dim=1)) + embedding.reshape(*embedding.shape, *[1] * (x.ndim - 2))
        return self.last(nn.functional.silu(self.hidden(nn.functional.silu(h))))


class RefinedModel(nn.Module):
    """The network as it was, which nothing here trains, and the refiner.

    Args:
        network: u(s, t, x), the teacher's.
        shape: shape of one state.
        width: hidden units of the refiner.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...], width: int):
        super().__init__()
        self.network = network
        self.refiner = Refiner(shape, width)

    def forward(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """The network alone, ``(B, *shape)``."""
        return self.network(s, t, x)


@register
@dataclass(frozen=True)
class FlowTurbo(Loss):
    r"""FlowTurbo's velocity refiner (Zhao et al., arXiv 2409.18128) with a pseudo-corrector sampler.

    A teacher's velocity changes little from one step to the next; a light network learns the change:

    .. math:: E \| r_\theta(t, t', \hat x, v_t(x_t)) - (v_{t'}(\hat x) - v_t(x_t)) \|^2, \quad
              \hat x = x_t + (t'-t) v_t(x_t)

    The sampler takes k steps with at most k evaluations: of the teacher on the first part, of the refiner on the rest.
    The pseudo-corrector is Heun's method that reuses the velocity found at the predicted state as the next step's first
    one, so that a step costs one evaluation; the last step is an Euler step. How steps are shared between teacher and
    refiner is the option ``refined``; the source chooses numbers of Heun, pseudo-corrector and refiner steps by hand.
    The teacher is not trained.

    Source's symbols: the same in its code, whose step dt is t' - t.

    Cost: 2V and the refiner's.

    What goes wrong: the refiner is trained on exact states with the teacher's velocity and sampled on its own, so that
    its errors add up over the steps that it makes; at few, long ones the change is no longer small.

    Attributes:
        refined: share of the evaluations after the first that the refiner makes, the late ones, rounded down.
        width: hidden units or channels of the refiner.
        longest: longest step t' - t that it is trained on (source's code: 0.12; ttfm's, for few steps). With the
            default ``refined``, samples of one and two steps are the teacher's alone.
    """

    refined: Fraction = 0.5
    width: Count = 32
    longest: Positive = 0.5

    name = "flowturbo"
    title = "FlowTurbo"
    family = "sampler"
    source = "arXiv 2409.18128"
    learns = "own"
    needs_teacher = True

    def wrap(self, network: nn.Module, shape: tuple[int, ...], schedules: dict[int, Tensor] | None = None) -> nn.Module:
        """The network with a new refiner."""
        return RefinedModel(network, shape, self.width)

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``refinement``."""
        assert teacher is not None and isinstance(student.network, RefinedModel)
        x, later = batch.at(batch.s), torch.minimum(batch.t, batch.s + self.longest)
        with torch.no_grad():
            velocity = teacher(batch.s, x)
            predicted = x + expand(later - batch.s, x) * velocity
            change = teacher(later, predicted) - velocity
        return {"refinement": squared_norm(student.network.refiner(batch.s, later, predicted, velocity) - change)}

    def sample(
        self, model: nn.Module, x0: Tensor, steps: int, noise: Callable[[int], Tensor], teacher: Field
    ) -> Tensor:
        """``steps`` steps from ``x0``, shape as ``x0``."""
        assert isinstance(model, RefinedModel)
        times = [x0.new_full((len(x0),), i / steps) for i in range(steps)]
        light = int(self.refined * (steps - 1))
        x, velocity = x0, teacher(times[0], x0)
        for i in range(1, steps):
            predicted = x + velocity / steps
            if i < steps - light:
                after = teacher(times[i], predicted)
            else:
                after = velocity + model.refiner(times[i - 1], times[i], predicted, velocity)
            x = x + (velocity + after) / (2 * steps)
            velocity = after
        return x + velocity / steps
