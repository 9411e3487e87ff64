r"""Training losses of two-timed flow models: one file each, one signature, one registry.

All of their docstrings are written in one convention, whatever the source's:

- Time runs from noise, t = 0, to data, t = 1, along :math:`x_t = (1-t) x_0 + t x_1` with noise x_0 and data x_1.
- :math:`v_t(x)` is the teacher's velocity: at the optimum of flow matching the mean of x_1 - x_0 given x_t = x.
- :math:`u(s,t,x)`, s <= t, is the average velocity over [s, t] of the path that is at x at time s, the network's
  output; on the diagonal, u(t, t, x), it is the velocity. :math:`\phi_{s,x}(t) = x + (t-s) u(s,t,x)` is the flow map,
  where that path is at time t; :math:`\phi(s \to t)` or :math:`\phi_{s \to t}` as a function of x.
- :math:`u_\theta` is the model under training, also where the mark is left out: gradients flow to it from everywhere
  but from within :math:`\mathrm{sg}[\cdot]`, the stop-gradient. :math:`u^-, \phi^-` are the target network's, an EMA
  of decay mu or, with mu = 0, a stop-gradient copy. The teacher and the target get no gradient.
- :math:`a \to b` is short for :math:`E \| a - \mathrm{sg}[b] \|^2`, the squared norm being the sum over components.

"Cost" counts the passes of a step, over the whole batch unless it says otherwise: F forward through the network, B
backward through one such pass, J a forward-mode derivative (a Jacobian-vector product, about 2F) without gradient, JB
one with its backward pass, V forward through the teacher.
"""

from ttfm.losses.base import LOSSES, Batch, Loss, Variant, load_modules, register

__all__ = ["LOSSES", "Batch", "Loss", "Variant", "load_modules", "register"]
