"""Grids and distributions of times, and the best few jumps along stored trajectories.

The noise level of the linear path is sigma = (1 - t) / t: x_t / t = x1 + sigma x0. What papers say in noise levels is
said in times through it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def time_of_noise(sigma: Tensor) -> Tensor:
    """The time t = 1 / (1 + sigma) in (0, 1] of noise levels sigma >= 0, any shape."""
    return 1 / (1 + sigma)


def noise_grid(count: int, rho: float, sigma_min: float, sigma_max: float) -> Tensor:
    r"""Noise levels equidistant in :math:`\sigma^{1/\rho}` (Karras et al., arXiv 2206.00364, eq. 5).

    Returns:
        ``count`` levels in float64, decreasing from ``sigma_max`` to ``sigma_min``.
    """
    ends = torch.tensor([sigma_max, sigma_min], dtype=torch.float64) ** (1 / rho)
    return torch.linspace(float(ends[0]), float(ends[1]), count, dtype=torch.float64) ** rho


def times_of_grid(sigma: Tensor) -> Tensor:
    """Times of decreasing noise levels ``(N,)``, with the ends moved to pure noise, t = 0, and to data, t = 1."""
    times = time_of_noise(sigma)
    times[0], times[-1] = 0.0, 1.0
    return times


def lognormal_noise(uniform: Tensor, mean: float, std: float) -> Tensor:
    """Noise levels whose logarithm is N(mean, std^2), from uniform numbers in [0, 1), shape kept."""
    # The ends are infinite quantiles; half a float32 step away from them, five standard deviations are left.
    inside = uniform.clamp(3e-8, 1 - 6e-8)
    return (mean + std * torch.special.ndtri(inside)).exp()


def jump_costs(times: Tensor, path: Tensor, velocities: Tensor | None = None) -> Tensor:
    r"""The error of every single Euler jump along stored trajectories, ``(M, M)`` in float64.

    .. math:: c_{ij} = E \| x_{t_i} + (t_j - t_i) v_{t_i}(x_{t_i}) - x_{t_j} \|^2, \quad i < j,

    the mean over trajectories, and infinity for i >= j. Arguments as in :func:`optimal_schedule`.
    """
    count = len(times)
    times, path = times.double(), path.flatten(2).double()
    gaps = times.diff()
    velocities = path.diff(dim=0) / gaps[:, None, None] if velocities is None else velocities.flatten(2).double()
    costs = path.new_full((count, count), torch.inf)
    for i in range(count - 1):
        jumps = path[i] + (times[i + 1 :] - times[i])[:, None, None] * velocities[i]
        costs[i, i + 1 :] = (jumps - path[i + 1 :]).square().sum(2).mean(1)
    return costs


def optimal_schedules(
    times: Tensor, path: Tensor, velocities: Tensor | None = None, most: int | None = None
) -> dict[int, Tensor]:
    """:func:`optimal_schedule` for every number of jumps from 1 to ``most``, by default as many as there can be."""
    return {steps: optimal_schedule(times, path, steps, velocities) for steps in range(1, (most or len(times) - 1) + 1)}


def optimal_schedule(times: Tensor, path: Tensor, steps: int, velocities: Tensor | None = None) -> Tensor:
    r"""The best ``steps`` Euler jumps from 0 to 1 along stored trajectories (BOSS, Nguyen et al., arXiv 2312.16414).

    Of all schedules :math:`0 = \tau_0 < \dots < \tau_K = 1` of ``steps`` = K jumps on the stored times, the one that
    minimises the sum of its jumps' costs, :math:`\sum_k c(\tau_k, \tau_{k+1})` with :func:`jump_costs`. Every jump is
    taken from the stored state, so that is a sum of local errors, not the error of the whole integration. A dynamic
    programme over all pairs of the M stored times, of K M^2 operations.

    Args:
        times: the stored times, increasing from 0 to 1, ``(M,)``.
        path: the teacher's states at ``times``, ``(M, B, *shape)``.
        steps: number K of jumps, 1 to M - 1.
        velocities: the teacher's velocities at the states, ``(M, B, *shape)`` or without the last time. By default the
            difference quotients of neighbouring states, which they are where the trajectories are Euler's on ``times``
            (as in the source, with 100 steps) and approximate otherwise.

    Returns:
        The schedule's times, ``(steps + 1,)``, of the dtype of ``times``.

    Raises:
        ValueError: if there is no schedule of so many jumps.
    """
    if not 1 <= steps <= len(times) - 1:
        raise ValueError(f"{len(times)} stored times admit 1 to {len(times) - 1} jumps, not {steps}")
    costs = jump_costs(times, path, velocities)
    best = torch.full_like(costs[0], torch.inf)
    best[0] = 0.0
    previous = []
    for _ in range(steps):
        best, before = (best[:, None] + costs).min(dim=0)
        previous.append(before)
    indices = [torch.tensor(len(times) - 1, device=times.device)]
    for before in reversed(previous):
        indices.append(before[indices[-1]])
    return times[torch.stack(indices[::-1])]
