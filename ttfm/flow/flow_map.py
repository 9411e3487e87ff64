"""The two-timed flow map phi_{s,x}(t) = x + (t - s) u(s, t, x) and its exact derivatives."""

from __future__ import annotations

import warnings
from collections import Counter

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from ttfm.flow.interpolant import expand
from ttfm.flow.precision import Precision, evaluate


class FlowMap(nn.Module):
    r"""A two-timed flow model: a network u(s, t, x) read as an average velocity.

    By construction :math:`\phi_{s,x}(s) = x`. The network is called as ``network(s, t, x)`` with times of shape
    ``(B,)``, 0 <= s <= t <= 1, and states of shape ``(B, *shape)``.

    ``calls`` counts evaluations of the network, in samples: "forward", "jvp" for forward-mode passes, and of each kind
    those that a gradient flows back through: "forward-backward" and "jvp-backward".

    Args:
        network: u(s, t, x).
        precision: that of plain evaluations; forward-mode derivatives, and what a loss asks to be exact, are always in
            full precision.
    """

    def __init__(self, network: nn.Module, precision: Precision = "float32"):
        super().__init__()
        self.network = network
        self.precision: Precision = precision
        self.calls: Counter[str] = Counter()

    def average_velocity(self, s: Tensor, t: Tensor, x: Tensor, *, exact: bool = False) -> Tensor:
        """u(s, t, x), shape ``(B, *shape)``; ``exact`` for full precision, where a small difference will be divided."""
        return self._counted("forward", evaluate(self.network, s, t, x, "float32" if exact else self.precision))

    def forward(self, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """phi_{s,x}(t), shape ``(B, *shape)``."""
        return x + expand(t - s, x) * self.average_velocity(s, t, x)

    def velocity(self, t: Tensor, x: Tensor) -> Tensor:
        """The diagonal u(t, t, x): the model's instantaneous velocity, shape ``(B, *shape)``."""
        return self.average_velocity(t, t, x)

    def with_features(self, s: Tensor, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The pair u(s, t, x) and the hidden features on the way to it, ``(B, *features)``.

        Raises:
            TypeError: if the network does not declare, as ``features``, which of its modules puts them out.
        """
        module = getattr(self.network, "features", None)
        if not isinstance(module, nn.Module):
            raise TypeError(f"{type(self.network).__name__} declares no hidden features")
        seen: list[Tensor] = []
        handle = module.register_forward_hook(lambda module, inputs, output: seen.append(output))
        try:
            return self.average_velocity(s, t, x), seen[-1].to(x.dtype)
        finally:
            handle.remove()

    def lagrangian(self, s: Tensor, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""The pair u, :math:`\partial_t u` at (s, t, x): forward-mode tangent (0, 1, 0) for (s, t, x)."""
        return self._jvp(s, t, x, torch.zeros_like(s), torch.ones_like(t), torch.zeros_like(x))

    def eulerian(self, s: Tensor, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        r"""The pair u, :math:`\partial_s u + (\nabla_x u) v` at (s, t, x): forward-mode tangent (1, 0, v)."""
        return self._jvp(s, t, x, torch.ones_like(s), torch.zeros_like(t), v)

    def count(self, kind: str, samples: int, backward: bool) -> None:
        """Count a pass in ``calls``; those that a loss makes through the network's own modules it counts itself.

        Args:
            kind: "forward" or "jvp".
            samples: those of the pass.
            backward: whether a gradient flows back through it.
        """
        self.calls[kind] += samples
        if backward:
            self.calls[f"{kind}-backward"] += samples

    def _counted(self, kind: str, output: Tensor) -> Tensor:
        self.count(kind, len(output), output.requires_grad)
        return output

    def _jvp(self, s: Tensor, t: Tensor, x: Tensor, ds: Tensor, dt: Tensor, dx: Tensor) -> tuple[Tensor, Tensor]:
        # Fused attention kernels have no forward-mode derivative, and low precision ruins tangents: the MATH backend
        # and full precision are the only correct choice inside.
        with (
            sdpa_kernel(SDPBackend.MATH),
            torch.autocast(x.device.type, enabled=False),
            warnings.catch_warnings(),
            forward_ad.dual_level(),
        ):
            # torch's own forward-mode rules are built on its deprecated scripting compiler; not the user's concern.
            warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=Warning)
            pairs = zip((s, t, x), (ds, dt, dx), strict=True)
            # Not the call, which may be compiled: torch's compiler can drop tangents.
            output = self.network.forward(*(forward_ad.make_dual(value, tangent) for value, tangent in pairs))
            primal, tangent = forward_ad.unpack_dual(output)
        self._counted("jvp", primal)
        return primal, torch.zeros_like(primal) if tangent is None else tangent
