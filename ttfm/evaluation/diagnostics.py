"""What a flow is like, beside how good its samples are: how straight, how conservative, how far it carries.

None of these has a best value that every good model must reach; they describe, and tables do not rank by them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ttfm.evaluation.checks import require_finite
from ttfm.evaluation.paired import endpoint_rmse
from ttfm.flow.solvers import Field, trajectory_on
from ttfm.seeds import generator

PIECE = 2**18
"""Components of the states whose Jacobians are asked about at once: second derivatives keep every layer's output."""
STATES = 8
"""Times along the trajectories at which Jacobians are asked about: every state costs three passes backwards."""


def straightness(times: Tensor, path: Tensor) -> float:
    r"""How far trajectories are from straight lines at constant speed (Liu et al., arXiv 2209.03003).

    .. math:: \int_0^1 E \| \dot x_t - (x_1 - x_0) \|^2 dt

    with the derivative taken as difference quotient between neighbouring times.

    Args:
        times: increasing times from 0 to 1, shape ``(M,)``, M >= 3.
        path: states at these times, shape ``(M, P, *shape)``.

    Raises:
        ValueError: if a state is not finite.
    """
    require_finite(path, "path")
    path, times = path.double().flatten(2), times.double()
    width = times.diff()[:, None, None]
    gap = path.diff(dim=0) / width - (path[-1] - path[0])
    return (gap.square().sum(2) * width[..., 0]).sum(0).mean().item()


def transport_cost(x0: Tensor, x1: Tensor) -> float:
    r"""The root mean square distance :math:`\sqrt{E \|x_1 - x_0\|^2}` from noise to sample, both ``(N, *shape)``.

    Among couplings of the same two distributions the optimal transport has the lowest.

    Raises:
        ValueError: if the shapes differ, are empty, or a sample is not finite.
    """
    return endpoint_rmse(x1, x0)


def jacobian_asymmetry(field: Field, times: Tensor, paths: Tensor, latest: float = 0.98, seed: int = 0) -> float:
    r"""How far a velocity is from a gradient: the asymmetry of its Jacobian :math:`J = \nabla_x v`, between 0 and 1.

    .. math:: \frac{E \|(J - J^\top) z\|^2}{2 E (\|J z\|^2 + \|J^\top z\|^2)}, \quad z \sim N(0, I)

    at states of trajectories, one random projection z each, without ever forming J. Zero for the gradient of a
    potential, as the exact marginal velocity of a Gaussian path is; one for an antisymmetric Jacobian, a pure rotation.
    Of many times about eight count, evenly spaced.

    Args:
        field: the velocity.
        times: increasing times in [0, 1], shape ``(M,)``.
        paths: states at these times, shape ``(M, P, *shape)``.
        latest: the last time that counts; the velocity of the linear path is stiff at 1.
        seed: seed of the projections.

    Raises:
        ValueError: if the result is not finite.
    """
    early = (times <= latest).nonzero()[:, 0]
    early = early[:: max(1, len(early) // STATES)]
    x = paths[early].flatten(0, 1)
    t = times[early].to(x).repeat_interleave(paths.shape[1])
    z = torch.randn(x.shape, generator=generator(seed, "projections")).to(x)
    # Whole times: every piece then asks about the same samples in the same order, whose labels may be bound outside.
    rows = paths.shape[1] * max(1, PIECE // paths[0].numel())
    parts = [_asymmetry(field, *piece) for piece in zip(t.split(rows), x.split(rows), z.split(rows), strict=True)]
    apart, size = (sum(column) for column in zip(*parts, strict=True))
    value = apart / (2 * size) if size else 0.0
    if not math.isfinite(value):
        raise ValueError("the Jacobian's asymmetry is not finite: the velocity returns values that are not")
    return value


def _asymmetry(field: Field, t: Tensor, x: Tensor, z: Tensor) -> tuple[float, float]:
    """Sums over the states of |(J - J^T) z|^2, and of |J z|^2 + |J^T z|^2."""
    # J z by reverse mode twice: J^T w is linear in w, and its derivative there is J. Fused attention has no second
    # derivative. Products in place of ``grad_outputs``, whose check loads a symbolic algebra system.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        point, w = x.clone().requires_grad_(True), torch.zeros_like(x, requires_grad=True)
        velocity = field(t, point)
        (transposed,) = torch.autograd.grad((velocity * w).sum(), point, create_graph=True)
        (forward,) = torch.autograd.grad((transposed * z).sum(), w, retain_graph=True)
        (backward,) = torch.autograd.grad((velocity * z).sum(), point)
    return _energy(forward - backward), _energy(forward) + _energy(backward)


def _energy(x: Tensor) -> float:
    return x.double().square().sum().item()


@torch.no_grad()
def map_path(flow_map: torch.nn.Module, x0: Tensor, times: Tensor) -> Tensor:
    """The trajectory that a flow map draws from noise: phi_{0,x0}(t) at every time, shape ``(M, P, *shape)``.

    Args:
        flow_map: called as ``flow_map(s, t, x)``.
        x0: noise, shape ``(P, *shape)``.
        times: shape ``(M,)``.
    """
    zero = x0.new_zeros(len(x0))
    return torch.stack([flow_map(zero, zero + time.to(x0), x0) for time in times])


@torch.no_grad()
def velocity_path(field: Field, x0: Tensor, times: Tensor) -> Tensor:
    """The Euler trajectory of a velocity on the grid ``times`` ``(M,)`` from noise ``(P, *shape)``."""
    return torch.stack(list(trajectory_on(field, x0, "euler", times)))
