"""Rectified diffusion: the teacher's pairs under other prediction targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.solvers import Field
from ttfm.losses.base import Batch, Loss, Variant, register, squared_norm


@register
@dataclass(frozen=True)
class RectifiedDiffusion(Loss):
    r"""Rectified diffusion (Wang et al., arXiv 2410.07303): training on the teacher's pairs in its own prediction form.

    With :math:`v = u_\theta(s, s, x_s)`, pairs :math:`x_1 = \phi_{0,x_0}(1)` and x_s = (1-s) x_0 + s x_1,

    .. math:: \text{noise:} \; \| (x_s - s v) - x_0 \|^2, \quad \text{data:} \; \| (x_s + (1-s) v) - x_1 \|^2.

    The source holds that the pairs matter and neither the path nor the velocity as the target: a model keeps the form
    it was pre-trained in, for it noise prediction on a curved (DDPM) path; its published code measures the error in
    data space, "data" here, by a pseudo-Huber distance. Here the teacher's form is the linear path and one network
    predicts velocities for all losses, so that what remains of the target is its weight: the two are ``reflow``'s error
    times :math:`s^2` and :math:`(1-s)^2`. That is ttfm's reading, and no test of the paper's curved paths; the squared
    error and the uniform time are ttfm's too.

    Source's symbols: its time runs from data to noise; its data x_0 and noise epsilon are x_1 and x_0 here.

    Cost: F+B; the pairs are paid once.

    What goes wrong: the weight vanishes at one end, so that noise prediction does not train the velocity at s = 0, from
    which one step starts, nor data prediction that at s = 1; few pairs are overfitted, and the error of the teacher's
    solution is learned as well.

    Attributes:
        predicts: "data" (the source's code), or "noise".
    """

    predicts: Literal["data", "noise"] = "data"

    name = "rectified_diffusion"
    title = "Rectified diffusion"
    family = "velocity"
    source = "arXiv 2410.07303, on the linear path"
    learns = "velocity"
    needs_teacher = False
    starts_from_teacher = True
    offline = "pairs"
    # As of reflow, with its weights: 0.078 and 0.28; of noise 0.180 and 0.28.
    variants = (Variant(residual=0.093, mixture=0.33), Variant({"predicts": "noise"}, residual=0.22, mixture=0.34))

    def terms(self, batch: Batch, student: FlowMap, target: FlowMap | None, teacher: Field | None) -> dict[str, Tensor]:
        """One term, named as what is predicted."""
        s = batch.single_time()
        x = batch.at(s)
        time, velocity = expand(s, x), student.velocity(s, x)
        if self.predicts == "noise":
            return {"noise": squared_norm(x - time * velocity - batch.x0)}
        return {"data": squared_norm(x + (1 - time) * velocity - batch.x1)}
