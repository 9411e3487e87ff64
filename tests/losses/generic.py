"""What every loss is asked by its declaration alone: the cases, and what is measured on each of them."""

import copy
import functools
from dataclasses import MISSING, dataclass, fields

import torch
from torch import nn

from tests.exact import make_batch, with_path
from ttfm.evaluation.paired import endpoint_rmse
from ttfm.evaluation.sampling import any_to_any_path, consistency_sample, velocity_sample
from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import interpolate
from ttfm.flow.schedules import optimal_schedules
from ttfm.losses import LOSSES, Loss, Variant, load_modules
from ttfm.networks.mlp import MLP
from ttfm.seeds import indexed_noise
from ttfm.training.trainer import Trainer, TrainingOptions, Trajectories

MOMENTS = (0.0, 0.25, 0.5, 0.75, 0.99)
"""Fractions of the training at which a loss with a schedule is looked at."""

SHIFT = 0.3
"""How far, in each component, an exact map is shifted to see that a loss notices."""


@dataclass(frozen=True)
class Case:
    """One loss under one of its declared settings."""

    loss: Loss
    variant: Variant

    def __str__(self):
        options = [f"{name}={value}" for name, value in self.variant.options.items()]
        progress = [f"progress={self.variant.progress:g}"] if self.variant.progress else []
        return "-".join([self.loss.name, *options, *progress])

    @property
    def moments(self):
        return sorted({self.variant.progress, *MOMENTS})


@functools.cache
def losses(modules=()):
    """The package's losses, and after them those of further files, which do not stay in the registry."""
    package = dict(load_modules())
    found = dict(load_modules(modules))
    LOSSES.clear()
    LOSSES.update(package)
    return [*package.values(), *(loss for name, loss in found.items() if name not in package)]


def cases(classes):
    return [Case(loss(**variant.options), variant) for loss in classes for variant in loss.variants]


def usual(loss):
    """A loss with its default options; where some have none, with those of its first variant."""
    required = any(field.default is MISSING and field.default_factory is MISSING for field in fields(loss))
    return loss(**loss.variants[0].options) if required else loss()


def wants_target(loss):
    return loss.target_decay is not None or loss.stages > 0


def terms(loss, batch, student, target, teacher):
    """The loss's terms, called as the trainer calls it: it is given only what it declares."""
    return loss.terms(batch, student, target if wants_target(loss) else None, teacher if loss.needs_teacher else None)


def batch_of(loss, flow, count, progress=0.0, seed=0, dtype=torch.float64, points=17):
    """A batch of the flow's data; for losses that train on trajectories, exact ones, whose ends are x0 and x1."""
    field, exact = flow
    batch = make_batch(field, count, seed, dtype, progress)
    return with_path(batch, exact, 2 if loss.offline == "pairs" else points) if loss.offline else batch


def check_residual(loss, flow, bound, progress=0.0):
    """Every term vanishes up to ``bound`` at the exact map; of a conditional loss, those that it calls exact."""
    values = residuals(loss, flow, progress)
    assert values, "the loss has no terms"
    for name, value in values.items() if not loss.conditional else [(name, values[name]) for name in loss.exact_terms]:
        assert value <= bound, f"the residual of {name} exceeds {bound:g}"


@torch.no_grad()
def residuals(loss, flow, progress=0.0, count=1024):
    """Every term's batch mean where student and target are the flow's exact map and the teacher its exact field."""
    field, exact = flow
    values = terms(loss, batch_of(loss, flow, count, progress), exact, exact, field)
    return {name: value.mean().item() for name, value in values.items()}


class Still(nn.Module):
    """The average velocity of a map that moves nothing."""

    def forward(self, s, t, x):
        return torch.zeros_like(x)


class Perturbed(nn.Module):
    """An exact map plus amounts, its parameters, of a few directions: constant, linear in x, growing with t - s.

    Samples belong to groups in turn, each of which has amounts of its own: ``(groups, K)``.
    """

    def __init__(self, network, off_diagonal, groups):
        super().__init__()
        self.network = network
        self.off_diagonal = off_diagonal
        self.amounts = nn.Parameter(torch.zeros(groups, 8 if off_diagonal else 4, dtype=torch.float64))

    def forward(self, s, t, x):
        still = torch.stack([*torch.eye(2).to(x)[:, None].expand(2, *x.shape), x, x.flip(1)])
        directions = torch.cat([still, (t - s)[:, None] * still]) if self.off_diagonal else still
        amounts = self.amounts[torch.arange(len(x)) % len(self.amounts)]
        return self.network(s, t, x) + torch.einsum("bk,kbd->bd", amounts, directions)


GROUPS = 8
"""Samples of that many batches are computed as one, the gradients of each apart: small batches cost as much."""


def gradients(loss, flow, shift=0.0, progress=0.0, rounds=8, count=1024):
    """Gradients of the total by the amounts of each direction at the exact map plus a constant: a row per batch.

    The target is perturbed like the student, as an average of it is where training has come to rest.

    Returns:
        Of each of ``rounds * GROUPS`` batches of ``count`` samples, ``(rounds * GROUPS, K)``.
    """
    field, exact = flow
    network = Perturbed(exact.network, loss.learns != "velocity", GROUPS)
    student, target = FlowMap(network), FlowMap(network)
    with torch.no_grad():
        network.amounts[:, :2] = shift
    rows = []
    for seed in range(rounds):
        batch = batch_of(loss, flow, GROUPS * count, progress, seed)
        total = loss.total(terms(loss, batch, student, target, field))
        (gradient,) = torch.autograd.grad(total, network.amounts)
        rows.append(GROUPS * gradient)
    return torch.cat(rows)


def standard_error(rows):
    return rows.std(0) / len(rows) ** 0.5


def check_stationary(loss, flow, bound, progress=0.0, rounds=8):
    """In expectation the exact map is stationary and its neighbour is not, both by the batches' standard error."""
    at = gradients(loss, flow, 0.0, progress, rounds)
    # On the same samples the shift's own noise is small: a third of the batches is enough to see it.
    change = gradients(loss, flow, SHIFT, progress, rounds // 3) - at[: rounds // 3 * GROUPS]
    slope = change.mean(0)
    noticed = (slope.abs() / standard_error(change)).max().item()
    assert noticed > 10, f"a shift by {SHIFT} goes unnoticed"
    # By chance 4.5 standard errors of 64 batches are exceeded about 3 times in 100,000 (of 32 batches, three times
    # as often), and the seeds are fixed. What is in excess is the gradient of a map at some distance, in proportion to
    # what the shift changes.
    excess = at.mean(0).abs() - 4.5 * standard_error(at)
    distance = excess.max().item() / slope.norm().item() * SHIFT * 2**0.5
    assert distance <= bound**0.5, f"it is stationary elsewhere: at a squared distance of {distance**2:.1e}"


def random_mlp(seed, dtype=torch.float64):
    """A small network all of whose branches matter: the one that embeds t - s starts at zero elsewhere."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = MLP((2,), width=16, depth=2)
        nn.init.normal_(network.time.gap.weight, std=0.3)
    return network.to(dtype)


def wrapped(loss, seed, dtype=torch.float64):
    """The model that the loss trains, around a small network."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = loss.wrap(random_mlp(seed, dtype), (2,)).to(dtype)
        for parameter in model.parameters():
            # Layers that start at zero hide what lies before them.
            if not parameter.any():
                nn.init.normal_(parameter, std=0.3)
    return model


class CentralDifferences(FlowMap):
    """A flow map whose derivatives are differences of its network's values."""

    def _jvp(self, s, t, x, ds, dt, dx, h=1e-5):
        here = self.network(s, t, x)
        self._counted("jvp", here)
        ahead, behind = (self.network(s + e * ds, t + e * dt, x + e * dx) for e in (h, -h))
        return here, (ahead - behind) / (2 * h)


class Convention(nn.Module):
    """One and the same function with the same parameters, computed from (s, t) or from (s, d = t - s)."""

    def __init__(self, seed, gap):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        shapes = {"start": (16,), "end": (16,), "state": (2, 16), "mix": (16, 16), "out": (16, 2)}
        for name, shape in shapes.items():
            value = torch.randn(shape, generator=generator, dtype=torch.float64) / len(shape) ** 0.5
            self.register_parameter(name, nn.Parameter(value))
        self.gap = gap

    def _of_gap(self, s, d):
        return s[:, None] * (self.start + self.end) + d[:, None] * self.end

    def forward(self, s, t, x):
        time = self._of_gap(s, t - s) if self.gap else s[:, None] * self.start + t[:, None] * self.end
        return nn.functional.silu((time + x @ self.state).sin() @ self.mix) @ self.out


def fitted(field, steps=400):
    """A small network regressed on a field: its diagonal is the velocity, and nothing is known off the diagonal."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = MLP((2,), width=64, depth=2)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    data = GaussianData(field)
    for _ in range(steps):
        x1, time = data.sample(256, generator), torch.rand(256, generator=generator)
        x = interpolate(torch.randn(x1.shape, generator=generator), x1, time)
        optimizer.zero_grad()
        (network(time, time, x) - field(time, x)).square().sum(1).mean().backward()
        optimizer.step()
        schedule.step()
    return network


class Diagonal(nn.Module):
    """A velocity field as if it were the average velocity: one step of it is one Euler step."""

    def __init__(self, field):
        super().__init__()
        self.field = field

    def forward(self, s, t, x):
        return self.field(s, x)


class GaussianData:
    """Training data of a linear-Gaussian flow."""

    def __init__(self, field):
        self.mean, self.std = field.means[0].float(), field.std

    def sample(self, count, generator):
        return self.mean + self.std * torch.randn(count, len(self.mean), generator=generator)


def trained(loss, flow, network, **options):
    """A copy of ``network`` after a short training, its evaluation EMA."""
    settings = {"iterations": 400, "batch": 128, "lr": 2e-3, "ema": 0.95} | options
    field, stored = flow[0], None
    if loss.offline:
        batch = batch_of(loss, flow, 512, dtype=torch.float32, points=9)
        stored = Trajectories(batch.times, batch.path, optimal_schedules(batch.times, batch.path))
    model = loss.wrap(copy.deepcopy(network).requires_grad_(True), (2,), stored and stored.schedules)
    options = TrainingOptions(**settings)
    run = Trainer(model, loss, GaussianData(field), field, options, 0, trajectories=stored)
    for _ in run.run():
        pass
    return run.evaluation.network.eval()


@torch.no_grad()
def endpoint_error(network, loss, flow, count=512):
    """Endpoint RMSE against the exact map, by the sampler for what was learned; those of many steps take four."""
    flow_map, x0, learns = FlowMap(network), indexed_noise(0, count, (2,)), loss.learns
    if learns == "any_to_any":
        x1 = any_to_any_path(flow_map, x0, 1)[-1]
    elif learns == "to_data":
        x1 = consistency_sample(flow_map, x0, 1, lambda step: torch.zeros_like(x0))
    elif learns == "own" and not isinstance(network, Diagonal):
        x1 = loss.sample(network, x0, 4, lambda step: indexed_noise(0, count, (2,), "renoise", step), flow[0])
    else:
        x1 = velocity_sample(flow_map.velocity, x0, 4)
    zeros = torch.zeros(count)
    return endpoint_rmse(x1, flow[1](zeros, zeros + 1, x0))
