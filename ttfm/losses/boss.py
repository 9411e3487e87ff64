"""BOSS: the best steps of a velocity, and its straightening on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.schedules import optimal_schedule
from ttfm.flow.solvers import Field, trajectory_on
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm
from ttfm.options import Count

MOST = 16
"""The largest number of steps for which a model keeps a schedule of its own."""


class ScheduledModel(nn.Module):
    """A network with the times at which it is to be asked, for every number of steps up to ``MOST``.

    Args:
        network: u(s, t, x).
        schedules: times from 0 to 1, ``(k + 1,)``, by number of steps k; equidistant where missing.
    """

    def __init__(self, network: nn.Module, schedules: dict[int, Tensor]):
        super().__init__()
        self.network = network
        for k in range(1, MOST + 1):
            times = schedules.get(k, torch.linspace(0, 1, k + 1))
            self.register_buffer(f"schedule_{k}", times.to(next(network.parameters()).device, torch.float32))

    def forward(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """The network itself, ``(B, *shape)``."""
        return self.network(s, t, x)

    def schedule(self, steps: int) -> Tensor:
        """The times of ``steps`` steps, ``(steps + 1,)``."""
        return self.get_buffer(f"schedule_{steps}") if steps <= MOST else torch.linspace(0, 1, steps + 1)


@register
@dataclass(frozen=True)
class BOSS(Loss):
    r"""Bellman optimal stepsize straightening (BOSS, Nguyen et al., arXiv 2312.16414).

    .. math:: E \| u_\theta(\tau_k, \tau_k, x_{\tau_k}) - (x_{\tau_{k+1}} - x_{\tau_k}) / (\tau_{k+1} - \tau_k) \|^2,
              \quad k \sim U\{0, \dots, K-1\}

    on stored trajectories of the teacher and a schedule :math:`0 = \tau_0 < \dots < \tau_K = 1` of stored times: K
    Euler steps along the schedule then end where the trajectory does. A dynamic programme finds the schedule once per
    problem, with the trajectories (:func:`ttfm.flow.schedules.optimal_schedule`; source: over 100 Euler steps of the
    teacher, here over the stored times); the sampler takes its Euler steps along the best schedule of as many steps.

    Source's symbols: its velocity v(x, t) is u(t, t, x) here; K and tau are the same.

    Cost: F+B; the trajectories and the dynamic programme are paid once.

    What goes wrong: it is straightened for K steps, and other numbers of steps meet velocities that were trained for
    jumps of other lengths; few trajectories are overfitted, and nothing is learned off their states.

    Attributes:
        steps: number K of jumps, at most the number of stored intervals (source: 6, among others).
        schedule: "optimal", or "equidistant", rounded to stored times, for training; the sampler follows.
    """

    steps: Count = 4
    schedule: Literal["optimal", "equidistant"] = "optimal"

    name = "boss"
    title = "BOSS"
    family = "trajectories"
    source = "arXiv 2312.16414"
    learns = "own"
    needs_teacher = False
    starts_from_teacher = True
    offline = "schedules"
    variants = (Variant(), Variant({"schedule": "equidistant"}), Variant({"steps": 1}))

    @property
    def intervals(self) -> int:
        """One for each of the option ``steps``."""
        return self.steps

    def wrap(self, network: nn.Module, shape: tuple[int, ...], schedules: dict[int, Tensor] | None = None) -> nn.Module:
        """The network with the schedules it is to be sampled by."""
        return ScheduledModel(network, (schedules or {}) if self.schedule == "optimal" else {})

    def jumps(self, times: Tensor, path: Tensor, schedules: dict[int, Tensor]) -> Tensor:
        """Indices of the schedule's times among the stored ones, ``(steps + 1,)``.

        Without a stored schedule the batch's own trajectories give one.

        Raises:
            ValueError: if fewer intervals are stored than there are to be jumps.
        """
        last = len(times) - 1
        if self.steps > last:
            raise ValueError(f"steps: {self.steps} jumps need as many stored intervals, and there are {last}")
        if self.schedule == "optimal":
            wanted = schedules[self.steps] if self.steps in schedules else optimal_schedule(times, path, self.steps)
        else:
            wanted = torch.arange(self.steps + 1, device=times.device, dtype=times.dtype) / self.steps
        return (times - wanted[:, None]).abs().argmin(dim=1)

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``secant``."""
        assert batch.times is not None and batch.path is not None
        jumps = self.jumps(batch.times, batch.path, batch.schedules)
        k = (batch.uniform() * self.steps).long().clamp(max=self.steps - 1)
        i, j, each = jumps[k], jumps[k + 1], torch.arange(len(k), device=k.device)
        s, t, x, y = batch.times[i], batch.times[j], batch.path[i, each], batch.path[j, each]
        return {"secant": squared_norm(student.velocity(s, x) - (y - x) / expand(t - s, x))}

    def sample(
        self, model: nn.Module, x0: Tensor, steps: int, noise: Callable[[int], Tensor], teacher: Field
    ) -> Tensor:
        """``steps`` Euler steps along the schedule, shape as ``x0``."""
        assert isinstance(model, ScheduledModel)
        *_, samples = trajectory_on(lambda t, x: model(t, t, x), x0, "euler", model.schedule(steps))
        return samples
