"""Difference transition matching: a light stochastic head on a deterministic backbone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import conditional_velocity, interpolate
from ttfm.flow.solvers import Field, solve
from ttfm.losses.base import Batch, Loss, register, squared_norm
from ttfm.networks.embeddings import TimeEmbedding
from ttfm.options import Count


class TransitionModel(nn.Module):
    """A backbone u(s, t, x) and a head that turns noise into differences x1 - x0, position by position.

    Args:
        network: the backbone; it declares its hidden ``features``.
        shape: shape of one state, ``(C, *positions)``.
        width: hidden units of the head.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...], width: int):
        super().__init__()
        self.backbone = FlowMap(network)
        self.width = width
        with torch.no_grad():
            zero = next(network.parameters()).new_zeros(1)
            known = self.condition(zero, zero.new_zeros(1, *shape)).shape[1]
        self.time = TimeEmbedding(width)
        self.first = nn.Linear(shape[0] + known, width)
        self.hidden = nn.Linear(width, width)
        self.last = nn.Linear(width, shape[0])

    def forward(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """The backbone alone, ``(B, *shape)``."""
        return self.backbone.average_velocity(s, t, x)

    def condition(self, t: Tensor, x: Tensor) -> Tensor:
        """What the head knows of the state: the backbone's output and features, ``(B, C + F, *positions)``."""
        output, features = self.backbone.with_features(t, t, x)
        if features.ndim < output.ndim:
            # A transformer's, (B, N, F): those of square patches, row by row.
            side = math.isqrt(math.prod(output.shape[2:]) // features.shape[1])
            features = features.movedim(1, -1).unflatten(-1, [size // side for size in output.shape[2:]])
        if features.shape[2:] != output.shape[2:]:
            features = nn.functional.interpolate(features, size=output.shape[2:])
        return torch.cat([output, features], dim=1)

    def head(self, r: Tensor, y: Tensor, known: Tensor) -> Tensor:
        """The head's velocity at its own time ``r`` ``(B,)`` and state ``y`` ``(B, C, *positions)``."""
        inputs = torch.cat([y, known], dim=1).movedim(1, -1)
        time = self.time(r, r).reshape(len(r), *[1] * (inputs.ndim - 2), self.width)
        h = nn.functional.silu(self.first(inputs) + time)
        return self.last(nn.functional.silu(self.hidden(h))).movedim(-1, 1)


@register
@dataclass(frozen=True)
class DifferenceTransitionMatching(Loss):
    r"""Difference transition matching (Shaul et al., arXiv 2506.23589).

    The next state is *drawn*: :math:`x_{t'} = x_t + (t'-t) Y` with :math:`Y \sim p(x_1 - x_0 | x_t)`, where flow
    matching takes the mean of Y. The backbone reads the state once per step; the light head is a flow-matching model of
    Y, given the backbone's features, applied position by position:

    .. math:: E \| h_\theta(r, y_r, f_\theta(t, x_t)) - (Y - e) \|^2, \quad y_r = (1-r) e + r Y, \; Y = x_1 - x_0,
              \; e \sim N(0, I)

    Sampling takes k transitions over equal intervals, each with ``head_steps`` Euler steps of the head from fresh
    noise. The source's head is a small MLP per patch, here one per pixel.

    Source's symbols: its time counts transitions, t/T here, so that its data are :math:`X_T`; Y is the same.

    Cost: F+B, and the head's, in full precision whatever the training's.

    What goes wrong: positions are drawn independently given the features, as in the source; at one step the draw is
    that of x_1 - x_0 given noise alone, which only the head can resolve.

    Attributes:
        head_width: hidden units of the head.
        head_steps: Euler steps of the head per transition.
    """

    head_width: Count = 64
    head_steps: Count = 16

    name = "dtm"
    title = "Difference transition matching"
    family = "transition"
    source = "arXiv 2506.23589"
    learns = "own"
    needs_teacher = False
    conditional = True
    paired = False

    def wrap(self, network: nn.Module, shape: tuple[int, ...], schedules: dict[int, Tensor] | None = None) -> nn.Module:
        """The network as backbone, with a new head."""
        return TransitionModel(network, shape, self.head_width)

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``transition``."""
        model = student.network
        assert isinstance(model, TransitionModel)
        time, difference = batch.single_time(), conditional_velocity(batch.x0, batch.x1)
        noise, r = batch.normal(), batch.uniform()
        known = model.condition(time, batch.at(time))
        student.count("forward", len(time), backward=True)
        prediction = model.head(r, interpolate(noise, difference, r), known)
        return {"transition": squared_norm(prediction - (difference - noise))}

    def sample(
        self, model: nn.Module, x0: Tensor, steps: int, noise: Callable[[int], Tensor], teacher: Field
    ) -> Tensor:
        """``steps`` drawn transitions, shape as ``x0``."""
        assert isinstance(model, TransitionModel)
        x = x0
        for i in range(steps):
            known = model.condition(x.new_full((len(x),), i / steps), x)
            head: Field = lambda r, y, known=known: model.head(r, y, known)  # type: ignore[misc]  # noqa: E731
            x = x + solve(head, noise(i + 1), "euler", self.head_steps) / steps
        return x
