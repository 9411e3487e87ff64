"""Consistency mid-training: secants of the teacher's trajectories."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm


@register
@dataclass(frozen=True)
class ConsistencyMidTraining(Loss):
    r"""Consistency mid-training, the form for average velocities (CMT, Hu et al., arXiv 2509.24526).

    .. math:: E \| u_\theta(t_i, t_j, x_{t_i}) - (x_{t_j} - x_{t_i}) / (t_j - t_i) \|^2, \quad i < j,

    on stored trajectories of the teacher. The source uses it to prepare a network for another loss, as does arXiv
    2511.13019; here it is a loss of its own, a plain regression of the map without a target network. The pair is the
    smallest interval of stored times that holds the batch's [s, t], so the times are those of all losses, rounded
    outwards (source: a random pair of the grid).

    Source's symbols: its trajectory runs from noise at the last time to data at :math:`t_0`, its map is
    :math:`\Psi_{t \to s}`.

    Cost: F+B; the trajectories are paid once.

    What goes wrong: few trajectories are overfitted, and nothing is learned off their states; the diagonal itself is
    not trained.
    """

    name = "cmt"
    title = "CMT"
    family = "trajectories"
    source = "arXiv 2509.24526; also used in arXiv 2511.13019"
    learns = "any_to_any"
    needs_teacher = False
    starts_from_teacher = True
    offline = "trajectories"
    variants = (Variant(),)

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, ``secant``."""
        assert batch.times is not None and batch.path is not None
        last, each = len(batch.times) - 1, torch.arange(len(batch.x0), device=batch.x0.device)
        i = (torch.searchsorted(batch.times, batch.s, right=True) - 1).clamp(0, last - 1)
        j = torch.maximum(torch.searchsorted(batch.times, batch.t).clamp(max=last), i + 1)
        s, t, x, y = batch.times[i], batch.times[j], batch.path[i, each], batch.path[j, each]
        return {"secant": squared_norm(student.average_velocity(s, t, x) - (y - x) / expand(t - s, x))}
