"""The linear interpolant between noise and data (Lipman et al., arXiv 2210.02747; Liu et al., arXiv 2209.03003)."""

from __future__ import annotations

from torch import Tensor


def expand(t: Tensor, x: Tensor) -> Tensor:
    """Reshape times ``(B,)`` to ``(B, 1, ..., 1)``, to broadcast over samples ``x`` of shape ``(B, *shape)``."""
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim))


def interpolate(x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
    r"""The state :math:`x_t = (1 - t) x_0 + t x_1`.

    Args:
        x0: noise, shape ``(B, *shape)``.
        x1: data, shape ``(B, *shape)``.
        t: times in [0, 1], shape ``(B,)``.

    Returns:
        States of shape ``(B, *shape)``.
    """
    t = expand(t, x0)
    return (1 - t) * x0 + t * x1


def conditional_velocity(x0: Tensor, x1: Tensor) -> Tensor:
    r"""The interpolant's time derivative :math:`dI/dt = x_1 - x_0`, shape ``(B, *shape)``."""
    return x1 - x0
