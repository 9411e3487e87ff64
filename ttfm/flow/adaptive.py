"""An integrator that chooses its own steps, by torchdiffeq."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from ttfm.flow.solvers import Field


def dopri5(field: Field, x: Tensor, times: Tensor, rtol: float = 1e-5, atol: float = 1e-5) -> Iterator[Tensor]:
    """Yield the ``M`` states of an integration at ``times`` by the Runge-Kutta method of Dormand and Prince, order 5.

    Steps are chosen so that the root mean square of the local errors over the whole batch is within tolerance: a
    sample's solution depends on its batch by less than that.

    Args:
        field: the velocity field.
        x: states at the first time, shape ``(B, *shape)``.
        times: increasing, shape ``(M,)``.
        rtol: relative tolerance.
        atol: absolute tolerance.

    Raises:
        ValueError: saying what to install, if torchdiffeq is not there.
    """
    try:
        from torchdiffeq import odeint
    except ImportError:
        raise ValueError("solver 'dopri5' needs torchdiffeq: pip install -e '.[dopri5]', or take 'rk4'") from None

    def velocity(t: Tensor, state: Tensor) -> Tensor:
        return field(t.to(state).expand(len(state)), state)

    yield x
    # From one time to the next: all states at once need not fit into memory.
    for ends in pairwise(times.tolist()):
        asked = torch.tensor(ends, dtype=torch.float64, device=x.device)
        x = odeint(velocity, x, asked, rtol=rtol, atol=atol, method="dopri5")[-1]
        yield x
