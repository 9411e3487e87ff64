"""Consistency losses: schedules, the translation from TrigFlow, and fixed points that are theirs alone."""

import copy
import itertools
import math

import pytest
import torch

from tests.exact import linear_gaussian, make_batch
from ttfm.data.densities import Ring
from ttfm.evaluation.paired import endpoint_rmse
from ttfm.evaluation.sampling import consistency_sample, velocity_sample
from ttfm.flow.fields import LearnedField
from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.schedules import lognormal_noise, noise_grid, time_of_noise
from ttfm.flow.solvers import solve
from ttfm.losses import load_modules
from ttfm.losses.ict import pseudo_huber
from ttfm.networks.mlp import MLP
from ttfm.seeds import indexed_noise
from ttfm.training.trainer import Trainer, TrainingOptions

LOSSES = load_modules()


class Shifted(torch.nn.Module):
    """A network's average velocity plus a constant that can be trained."""

    def __init__(self, network, shift=(0.0, 0.0)):
        super().__init__()
        self.network = network
        self.shift = torch.nn.Parameter(torch.tensor(shift, dtype=torch.float64))

    def forward(self, s, t, x):
        return self.network(s, t, x) + self.shift


def gradient(loss, exact, batch, shift=(0.0, 0.0), field=None):
    """The gradient of a constant shift of the student; the target stays exact."""
    student = Shifted(exact.network, shift)
    terms = loss.terms(batch, FlowMap(student), exact, field)
    loss.total(terms).backward()
    return student.shift.grad


def test_consistency_trainings_grid_grows_from_two_points_to_all():
    loss = LOSSES["ct"]()
    points = [loss.points(k / 1000) for k in range(1000)]
    assert points[0] == 2
    assert points[-1] == 151
    assert points == sorted(points)
    # Half of the growth of N^2 is done at half of the training.
    assert points[500] == math.ceil(math.sqrt((151**2 + 2**2) / 2) - 1) + 1


def test_improved_consistency_training_doubles_its_intervals_in_equal_parts():
    loss = LOSSES["ict"]()
    assert [loss.points((k + 0.5) / 8) - 1 for k in range(8)] == [10, 20, 40, 80, 160, 320, 640, 1280]
    assert LOSSES["ict"](initial=10, final=50).points(0.999) == 41


def test_pairs_are_drawn_with_the_mass_of_a_lognormal():
    loss = LOSSES["ict"]()
    sigma = noise_grid(41, loss.rho, loss.sigma_min, loss.sigma_max)
    mass = loss.probabilities(sigma)
    drawn = lognormal_noise(torch.rand(400_000, generator=torch.Generator().manual_seed(0)).double(), -1.1, 2.0)
    counts = torch.stack([((drawn < high) & (drawn >= low)).sum() for high, low in itertools.pairwise(sigma)])
    assert mass.sum().item() == pytest.approx(1)
    assert torch.allclose(mass, (counts / counts.sum()).double(), atol=2e-3)


def test_the_pseudo_huber_distance_is_quadratic_then_linear():
    difference = torch.tensor([[0.0, 0.0], [1e-5, 0.0], [3.0, 4.0]], dtype=torch.float64)
    c = 0.00054 * math.sqrt(2)
    zero, small, large = pseudo_huber(difference).tolist()
    assert zero == 0
    assert small == pytest.approx(1e-10 / (2 * c), rel=1e-3)
    assert large == pytest.approx(5 - c, rel=1e-6)


def test_easy_consistency_tuning_begins_at_the_data_and_closes_the_gap():
    loss = LOSSES["ect"]()
    sigma = torch.tensor([0.01, 0.5, 3.0, 20.0])
    first, last = loss.less_noise(sigma, 0.0), loss.less_noise(sigma, 0.999)
    # q^-1 n reaches 1 where n >= 2: below the noise level of log 7.
    assert torch.equal(first[:2], torch.zeros(2))
    assert torch.allclose(first[3:], sigma[3:] / 2, rtol=1e-3)
    assert torch.allclose(last, sigma * (1 - (1 + 8 / (1 + sigma.exp())) / 2**8))
    stages = torch.stack([loss.less_noise(sigma, (k + 0.5) / 8) for k in range(8)])
    assert (stages.diff(dim=0) >= 0).all()
    assert (stages < sigma).all()


# At a step of the grid the interpolant's pair is right in expectation up to the square of the step.
UNBIASED = [
    ("ct", {"final": 1000}, 0.999),
    ("ict", {"distance": "squared", "sigma_min": 0.02}, 0.999),
    ("ect", {"distance": "squared", "doublings": 12, "p_mean": 0.0, "p_std": 1.0}, 0.999),
    ("ect", {"distance": "squared", "doublings": 12, "p_mean": 0.0, "p_std": 1.0, "weight": "snr"}, 0.999),
    ("sct", {"normalise": False}, 0.5),
    ("sct", {"normalise": False, "warmup": 0.0, "sigma_d": 1.0}, 0.0),
]


@pytest.mark.parametrize(("name", "options", "progress"), UNBIASED)
def test_the_exact_map_is_stationary_in_expectation(name, options, progress):
    field, exact = linear_gaussian((0.4, -0.2), 0.3)
    loss, batch = LOSSES[name](**options), make_batch(field, 100_000, progress=progress)
    here = gradient(loss, exact, batch)
    away = gradient(loss, exact, make_batch(field, 100_000, progress=progress), (0.1, 0.1))
    assert here.abs().max() < 0.1 * away.min()


def trigflow(batch, network, sigma_d, velocity, loss):
    """sCM as its paper writes it: F(X, tau), the tangent by a central difference along the path in X and tau."""
    s = time_of_noise(lognormal_noise(batch.uniform(), loss.p_mean, loss.p_std))
    tau = torch.atan((1 - s) / s / sigma_d)
    cos, sin = tau.cos()[:, None], tau.sin()[:, None]
    if velocity is None:
        x0, x1 = batch.x0, batch.x1
    else:  # the expectations of both ends, which the teacher's velocity gives
        x = batch.at(s)
        v = velocity(s, x)
        x0, x1 = x - s[:, None] * v, x + (1 - s)[:, None] * v
    x_tau = cos * batch.x1 + sin * sigma_d * batch.x0
    dx = cos * sigma_d * x0 - sin * x1

    def f_network(x, tau):
        """F from f = cos X - sin sigma_d F, with f the network's jump to the data."""
        cos, sin = tau.cos()[:, None], tau.sin()[:, None]
        s = 1 / (1 + sigma_d * tau.tan())
        linear = x * (s[:, None] / cos)
        f = linear + (1 - s)[:, None] * network(s, torch.ones_like(s), linear)
        return (cos * x - f) / (sin * sigma_d)

    with torch.no_grad():
        h = 1e-5
        value = f_network(x_tau, tau)
        rate = (f_network(x_tau + h * dx, tau + h) - f_network(x_tau - h * dx, tau - h)) / (2 * h)
        r = min(1.0, batch.progress / loss.warmup) if loss.warmup else 1.0
        g = -(cos**2) * (sigma_d * value - dx) - r * cos * sin * (x_tau + sigma_d * rate)
        if loss.normalise:
            g = g / (g.norm(dim=1, keepdim=True) + 0.1)
    return (f_network(x_tau, tau) - value - g).square().sum(1)


@pytest.mark.parametrize("name", ["scd", "sct"])
@pytest.mark.parametrize("progress", [0.0, 0.04, 0.5])
@pytest.mark.parametrize("options", [{}, {"sigma_d": 1.3}, {"normalise": False}])
def test_continuous_consistency_is_the_papers_loss_in_trigflow(name, progress, options):
    field, _ = linear_gaussian((0.4, -0.2), 0.3)
    loss = LOSSES[name](**options)
    torch.manual_seed(0)
    network = MLP((2,), 16, 2).double()
    torch.nn.init.normal_(network.time.gap.weight, std=0.3)
    results = []
    for direct in (False, True):
        batch = make_batch(field, 64, progress=progress)
        if direct:
            values = trigflow(batch, network, loss.sigma_d, field if name == "scd" else None, loss)
        else:
            values = loss.terms(batch, FlowMap(network), None, field if name == "scd" else None)["consistency"]
        slopes = torch.autograd.grad(values.sum(), list(network.parameters()))
        results.append((values, torch.cat([slope.flatten() for slope in slopes])))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_flow_anchored_consistency_clamps_the_residual_and_anchors_the_velocity():
    field, exact = linear_gaussian()
    student = FlowMap(Shifted(exact.network, (5.0, 0.0)))
    batch = make_batch(field, 64)
    s = make_batch(field, 64).single_time()
    terms = LOSSES["facm"](power=0.0, cosine=0.0).terms(batch, student, None, field)
    # A constant shift does not enter the derivative: the residual is the shift, clamped to 1.
    assert torch.allclose(terms["consistency"], (math.pi / 2 * s).cos() * (1 - s.sqrt()) ** 2 / 2)
    assert torch.allclose(terms["anchor"], torch.full_like(s, 12.5))


def test_velocity_matching_and_distillation_move_by_the_residual():
    field, exact = linear_gaussian((0.4, -0.2), 0.3)
    shift = torch.tensor([0.3, -0.1], dtype=torch.float64)
    for options, count in (({}, 2), ({"distillation": 0.0}, 1), ({"matching": 0.0}, 1)):
        student = Shifted(exact.network, shift.tolist())
        loss = LOSSES["mdt_dist"](**options)
        terms = loss.terms(make_batch(field, 64), FlowMap(student), None, field)
        for value in terms.values():
            assert torch.allclose(value, shift.square().sum().expand(64))
        loss.total(terms).backward()
        assert torch.allclose(student.shift.grad, 2 * count * shift)


class Straight(torch.nn.Module):
    """The velocity that consistency flow matching learns: the average one up to the end of the segment."""

    def __init__(self, field, segments):
        super().__init__()
        self.field, self.segments = field, segments

    def forward(self, s, t, x):
        end = ((s * self.segments).floor() + 1).clamp(max=self.segments) / self.segments
        return self.field.average_velocity(s, end, x)


@pytest.mark.parametrize("segments", [1, 2, 4])
def test_consistency_flow_matching_learns_average_velocities_to_the_segments_ends(segments):
    field, _ = linear_gaussian((0.4, -0.2), 0.3)
    straight = FlowMap(Straight(field, segments))
    loss = LOSSES["consistency_fm"](segments=segments, boundary=1.0, delta=1e-3, alpha=0.0)
    here = gradient(loss, straight, make_batch(field, 100_000))
    away = gradient(loss, straight, make_batch(field, 100_000), (0.1, 0.1))
    assert here.abs().max() < 0.1 * away.min()


def test_consistency_flow_matching_meets_the_interpolant_at_the_end_of_a_segment():
    field, exact = linear_gaussian()
    loss = LOSSES["consistency_fm"](segments=2, boundary=0.9, delta=0.05)
    terms = loss.terms(make_batch(field, 512), exact, exact, None)
    batch = make_batch(field, 512)
    t = batch.single_time()
    end = torch.where(t < 0.5, 0.5, 1.0).double()
    direct = (t + 0.05 >= end) | (t + 0.05 >= 0.9)
    jump = batch.at(t) + expand(end - t, batch.x0) * exact.velocity(t, batch.at(t))
    expected = (jump - batch.at(end)).square().sum(1)
    assert torch.allclose(terms["endpoint"][direct], expected[direct])
    assert (terms["endpoint"][~direct] < expected[~direct].max()).all()
    assert (terms["velocity"][t + 0.05 >= end] == 0).all()


def trained(network, loss, iterations, data, field):
    options = TrainingOptions(iterations=iterations, lr=3e-3, ema=0.9, probe_every=0)
    run = Trainer(network, loss, data, field, options, 0)
    for _ in run.run():
        pass
    return run.evaluation.network


@pytest.fixture(scope="module")
def velocity():
    """The ring's velocity, from which distillation starts."""
    torch.manual_seed(0)
    ring = Ring()
    return trained(MLP((2,), 64, 3), LOSSES["velocity_regression"](), 300, ring, ring.field())


BARS = {"ict": 0.75, "ect": 0.75, "scd": 0.75, "sct": 0.75, "facm": 0.75, "mdt_dist": 0.9, "consistency_fm": 0.6}


@pytest.mark.parametrize("name", BARS)
def test_each_learns_the_ring(name, velocity):
    """The errors to beat: 1.95 of one Euler step of the velocity, 0.97 of the identity, 0.82 of two Euler steps."""
    ring, loss = Ring(), LOSSES[name]()
    torch.manual_seed(0)
    starts = loss.needs_teacher or loss.starts_from_teacher
    network = copy.deepcopy(velocity).requires_grad_(True) if starts else MLP((2,), 64, 3)
    network = trained(network, loss, 600, ring, ring.field())
    x0 = indexed_noise(0, 512, (2,))
    if loss.learns == "velocity":
        reached = velocity_sample(LearnedField(network), x0, 2)
    else:
        reached = consistency_sample(FlowMap(network), x0, 1, lambda i: x0)
    assert endpoint_rmse(reached, solve(ring.field(), x0, "rk4", 64)) < BARS[name]


class Gaussian:
    """Data of a linear-Gaussian flow."""

    def __init__(self, field):
        self.field = field

    def sample(self, count, generator):
        return self.field.means[0].float() + self.field.std * torch.randn(count, 2, generator=generator)


def test_consistency_training_learns_a_gaussian():
    field, exact = linear_gaussian((1.0, -2.0), 0.5)
    torch.manual_seed(0)
    network = trained(MLP((2,), 32, 2), LOSSES["ct"](final=20), 500, Gaussian(field), field)
    x0, zeros = indexed_noise(0, 512, (2,)), torch.zeros(512)
    error = (FlowMap(network)(zeros, zeros + 1, x0) - exact(zeros, zeros + 1, x0)).square().mean().sqrt().item()
    assert error < 0.25
