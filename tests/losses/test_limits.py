"""Losses that theory names as limits or special cases of one another agree."""

import copy
import dataclasses
import itertools

import pytest
import torch

from tests.exact import make_batch
from ttfm.flow.fields import LearnedField, LinearGaussianField
from ttfm.flow.flow_map import FlowMap
from ttfm.flow.interpolant import expand
from ttfm.flow.solvers import heun
from ttfm.losses import load_modules
from ttfm.losses.base import Batch, squared_norm
from ttfm.losses.self_distillation import semigroup_average
from ttfm.networks.mlp import MLP

LOSSES = load_modules()
SIZE = 64
PLAIN = {"normalise": False, "warmup": 0.0, "limit": 1.0}


def network(seed):
    torch.manual_seed(seed)
    net = MLP((2,), 16, 2).double()
    torch.nn.init.normal_(net.time.gap.weight, std=0.3)
    return net


@pytest.fixture
def student():
    return FlowMap(network(0))


@pytest.fixture
def teacher():
    return LearnedField(network(1).requires_grad_(False))


def batch(progress=0.0):
    """The same numbers at every call."""
    field = LinearGaussianField(torch.zeros(2, dtype=torch.float64), 0.5)
    return dataclasses.replace(make_batch(field, SIZE), progress=progress)


def gradient(value, model):
    parameters = [p for p in model.parameters() if p.requires_grad]
    grads = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in grads])


def of_loss(loss, student, target, teacher, at=None):
    """Terms and gradient of a loss."""
    terms = loss.terms(at or batch(), student, target, teacher)
    return terms, gradient(loss.total(terms), student)


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("power", [0.0, 0.75])
def test_alphaflow_at_zero_is_meanflow(power, student):
    options = {"power": power, "diagonal": 0.25}
    alpha = LOSSES["alphaflow"](schedule="constant", alpha=0.0, **options)
    terms, grad = of_loss(alpha, student, student, None)
    expected, expected_grad = of_loss(LOSSES["meanflow"](**options), student, None, None)
    assert torch.equal(terms["eulerian"], expected["eulerian"])
    assert torch.equal(grad, expected_grad)


def test_alphaflows_gradient_tends_to_meanflows(student):
    _, expected = of_loss(LOSSES["meanflow"](power=0.0), student, None, None)
    errors = []
    for alpha in (1e-2, 1e-3, 1e-4):
        loss = LOSSES["alphaflow"](schedule="constant", alpha=alpha, power=0.0, diagonal=0.25)
        errors.append(distance(of_loss(loss, student, student, None)[1], expected))
    assert errors[-1] < 1e-3
    assert all(9 < before / after < 11 for before, after in itertools.pairwise(errors))


def test_alphaflow_at_one_regresses_on_the_conditional_velocity(student):
    loss, at = LOSSES["alphaflow"](power=0.0, diagonal=0.0), batch()
    terms = loss.terms(at, student, student, None)
    u = student.average_velocity(at.s, at.t, at.at(at.s))
    assert torch.allclose(terms["eulerian"], squared_norm(u - (at.x1 - at.x0)))


def test_alphas_schedule():
    sigmoid = LOSSES["alphaflow"](start=0.5, end=0.75)
    assert [sigmoid.alpha_at(p) for p in (0.0, 0.5, 0.51, 0.74, 0.75, 0.99)] == [1, 1, 1, 0, 0, 0]
    assert sigmoid.alpha_at(0.625) == pytest.approx(0.5)
    values = [sigmoid.alpha_at(p / 100) for p in range(100)]
    assert values == sorted(values, reverse=True)
    linear = LOSSES["alphaflow"](schedule="linear")
    assert linear.alpha_at(0.25) == 0.75
    assert linear.alpha_at(0.996) == 0
    with pytest.raises(ValueError, match="start"):
        LOSSES["alphaflow"](start=0.5, end=0.5)


def test_discrete_ayf_lmd_tends_to_a_semigradient_of_lfmd(student, teacher):
    """Its value tends to LFMD's sample by sample, its gradient to LFMD's residual times the gradient of u."""
    expected = LOSSES["lfmd"]().terms(batch(), student, None, teacher)["lagrangian"]
    at = batch()
    x, gap = at.at(at.s), (at.t - at.s)[:, None]
    u, dudt = student.lagrangian(at.s, at.t, x)
    residual = (u + gap * dudt - teacher(at.t, x + gap * u)).detach()
    expected_grad = gradient(2 * (residual * u).sum(1).mean(), student)
    values, grads = [], []
    for step in (1e-1, 1e-2, 1e-3):
        terms, grad = of_loss(LOSSES["ayf_lmd"](step=step, **PLAIN), student, student, teacher)
        values.append(distance(terms["lagrangian"], expected))
        grads.append(distance(grad, expected_grad))
    for errors in (values, grads):
        assert errors[-1] < 5e-3
        assert all(8 < before / after < 12 for before, after in itertools.pairwise(errors))


def test_plain_ayf_emd_is_emd_and_meanflow_distillation(student, teacher):
    emd, emd_grad = of_loss(LOSSES["emd"](), student, None, teacher)
    for loss in (LOSSES["ayf_emd"](**PLAIN), LOSSES["meanflow_distill"](power=0.0, diagonal=0.0)):
        terms, grad = of_loss(loss, student, student, teacher)
        assert torch.allclose(terms["eulerian"], emd["eulerian"])
        assert torch.allclose(grad, emd_grad)


def test_normalised_tangents_have_the_plain_ones_direction(student, teacher):
    """The gradient is that of the plain loss with every sample weighted by 1 / (|g| + c)."""
    plain = LOSSES["ayf_emd"](**PLAIN).terms(batch(), student, student, teacher)["eulerian"]
    expected = plain / (plain.detach().sqrt() + 0.1)
    terms, grad = of_loss(LOSSES["ayf_emd"](warmup=0.0, limit=1.0), student, student, teacher)
    assert torch.allclose(grad, gradient(expected.mean(), student))
    assert torch.allclose(terms["eulerian"], expected.detach() / (plain.detach().sqrt() + 0.1))


def test_ayfs_warm_up_begins_at_the_velocity(student, teacher):
    at = batch()
    terms = LOSSES["ayf_emd"](normalise=False).terms(at, student, student, teacher)
    x = at.at(at.s)
    expected = squared_norm(student.average_velocity(at.s, at.t, x) - teacher(at.s, x))
    assert torch.allclose(terms["eulerian"], expected)
    loss = LOSSES["ayf_emd"]()
    assert [round(loss.factor(p), 9) for p in (0.0, 0.1, 0.198, 0.5)] == [0, 0.5, 0.99, 0.99]


def test_gradients_of_emd(student, teacher):
    """Three forms of one value: "full" is its true derivative, "time" lacks what the spatial derivative adds."""
    forms = ("full", "time", "semigradient")
    outcomes = {form: of_loss(LOSSES["emd"](gradient=form), student, None, teacher) for form in forms}
    values = [terms["eulerian"] for terms, _ in outcomes.values()]
    assert torch.allclose(values[0], values[1])
    assert torch.allclose(values[0], values[2])
    weight, step = student.network.hidden[0].weight, 1e-6
    direction, total = torch.randn_like(weight), {}
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * step * direction
            total[sign] = LOSSES["emd"]().terms(batch(), student, None, teacher)["eulerian"].mean()
            weight -= sign * step * direction
    loss = LOSSES["emd"](gradient="full")
    full = torch.autograd.grad(loss.total(loss.terms(batch(), student, None, teacher)), weight)[0]
    assert torch.allclose((full * direction).sum(), (total[1] - total[-1]) / (2 * step), rtol=1e-6)

    def still(t, x):
        return torch.zeros_like(x)

    at_rest = [of_loss(LOSSES["emd"](gradient=form), student, None, still)[1] for form in ("full", "time")]
    assert torch.allclose(*at_rest)
    assert distance(outcomes["time"][1], outcomes["full"][1]) > 1e-3
    assert distance(outcomes["semigradient"][1], outcomes["time"][1]) > 1e-3


@pytest.mark.parametrize(("name", "taught", "term"), [("lsd", "lfmd", "lagrangian"), ("esd", "emd", "eulerian")])
def test_self_distillation_is_distillation_from_the_own_diagonal(name, taught, term, student):
    target = FlowMap(network(2))
    values = LOSSES[name]().terms(batch(), student, target, None)[term]
    expected = LOSSES[taught]().terms(batch(), student, None, target.velocity)[term]
    first = round(0.75 * SIZE)
    assert torch.equal(values[:first], torch.zeros(first, dtype=values.dtype))
    assert torch.allclose(values[first:] * (SIZE - first) / SIZE, expected[first:])


def test_two_jumps_compose(student):
    """The semigroup target of SplitMeanFlow and PSD is what one jump must be to reach where two jumps reach."""
    at = batch()
    x, fraction = at.at(at.s), at.uniform()
    r = at.s + fraction * (at.t - at.s)
    average = semigroup_average(student, at.s, at.t, x, fraction)
    expected = student(r, at.t, student(at.s, r, x))
    assert torch.allclose(x + (at.t - at.s)[:, None] * average, expected)


def test_splitmeanflow_regresses_on_the_semigroup_target(student, teacher):
    """SplitMeanFlow's target is that of PSD with a uniform split, for the same split."""
    target = FlowMap(network(2))
    s, t, x, goal = LOSSES["splitmeanflow"]()._jump(batch(), target)
    fraction = batch().uniform()
    assert torch.allclose(goal, semigroup_average(target, s, t, x, fraction))
    *_, mirrored = LOSSES["psd"](intermediate="uniform")._jump(batch(), target)
    assert torch.allclose(mirrored, semigroup_average(target, s, t, x, 1 - fraction))


@dataclasses.dataclass(frozen=True)
class Split(Batch):
    """A batch whose uniform numbers are all the same."""

    share: float = 1.0

    def uniform(self):
        return torch.full_like(self.s, self.share)


def test_splitmeanflow_becomes_meanflow_as_its_first_jump_gets_short(student):
    """Its residual by the share of the first jump tends to MeanFlow's with the own diagonal as the velocity."""
    meanflow = LOSSES["meanflow_distill"](power=0.0, diagonal=0.0)
    expected, expected_gradient = of_loss(meanflow, student, None, student.velocity)
    errors = []
    for share in (1e-2, 1e-3, 1e-4):
        with torch.no_grad():
            s, t, x, goal = LOSSES["splitmeanflow"]()._jump(Split(**vars(batch()), share=share), student)
        residual = student.average_velocity(s, t, x) - goal
        slope = gradient(squared_norm(residual).mean() / share, student)
        value = squared_norm(residual / share)
        errors.append([distance(value, expected["eulerian"]), distance(slope, expected_gradient)])
    for previous, now in itertools.pairwise(errors):
        assert all(0.05 < b / a < 0.2 for a, b in zip(previous, now, strict=True)), errors
    assert max(errors[-1]) < 1e-3


def test_shortcut_bootstraps_as_psd_does_at_the_midpoint():
    target = FlowMap(network(2))
    loss = LOSSES["shortcut"](finest=4)
    s, t, x, goal = loss._jump(batch(), target)
    level = (t - s).log2().neg()
    assert set(level.tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert torch.equal((s * 2**level) % 1, torch.zeros(SIZE, dtype=s.dtype))
    assert t.max() == 1
    *_, expected = LOSSES["psd"]()._jump(dataclasses.replace(batch(), s=s, t=t), target)
    coarse = level < 3
    assert torch.allclose(goal[coarse], expected[coarse])
    half = 0.5 * (t - s)
    euler = target.velocity(s, x)
    euler = (euler + target.velocity(s + half, x + half[:, None] * euler)) / 2
    assert torch.allclose(goal[~coarse], euler[~coarse])


def test_itvm_without_a_teacher_in_its_target_is_semigroup_distillation(student, teacher):
    """With mu = 0 the target is the student itself: PSD's jump at a uniform fraction, on the same random numbers."""
    options = {
        "terminal_target": "ema_average",
        "student_form": "average",
        "r_rule": "uniform",
        "mu": 0.0,
        "lambda_I": 0.0,
    }
    loss = LOSSES["itvm"](**options)
    assert loss.target_decay == 0
    found, slope = of_loss(loss, student, student, teacher)
    with torch.no_grad():
        s, t, x, goal = LOSSES["psd"](intermediate="uniform")._jump(batch(), student)
    expected = squared_norm(student.average_velocity(s, t, x) - goal)
    assert torch.allclose(found["terminal"], expected)
    assert torch.allclose(slope, gradient(expected.mean(), student))


def test_improved_meanflow_is_meanflow_where_the_diagonal_is_the_conditional_velocity(student):
    at = batch()

    class Conditional(torch.nn.Module):
        def forward(self, s, t, x):
            u = student.network(s, t, x)
            return torch.where((s == t)[:, None], at.x1 - at.x0, u)

    model = FlowMap(Conditional())
    options = {"power": 0.0, "diagonal": 0.0}
    terms = LOSSES["imeanflow"](**options).terms(batch(), student, model, None)
    expected = LOSSES["meanflow"](**options).terms(batch(), student, None, None)
    assert torch.allclose(terms["eulerian"], expected["eulerian"])


def test_tvm_is_lsd_on_the_whole_batch(student):
    target = FlowMap(network(2))
    terms = LOSSES["tvm"]().terms(batch(), student, target, None)
    expected = LOSSES["lfmd"]().terms(batch(), student, None, target.velocity)
    assert torch.allclose(terms["terminal"], expected["lagrangian"])


def test_pfmm_doubles_its_range(student, teacher):
    loss = LOSSES["pfmm"](doublings=3)
    assert loss.stages == 4
    gaps = {}

    class Recorder(FlowMap):
        def average_velocity(self, s, t, x):
            gaps.setdefault(progress, []).append((t - s).max().item())
            return super().average_velocity(s, t, x)

    target, model = FlowMap(network(2)), Recorder(student.network)
    for progress in (0.0, 0.25, 0.5, 0.75):
        values = loss.terms(batch(progress), model, target, teacher)["semigroup"]
        if progress == 0:
            at = batch()
            x, t = at.at(at.s), torch.minimum(at.t, at.s + 0.125)
            step = heun(teacher, at.s, t - at.s, x)
            expected = squared_norm(student.average_velocity(at.s, t, x) - (step - x) / expand(t - at.s, x))
            assert torch.allclose(values, expected, rtol=1e-4)
            assert not target.calls
    assert [max(gap) <= bound for gap, bound in zip(gaps.values(), (0.125, 0.25, 0.5, 1), strict=True)] == [True] * 4
    assert max(gaps[0.75]) > 0.5


def test_ctms_last_jump_passes_the_gradient_on_and_keeps_none(student, teacher):
    """With mu = 0 the target is the student's own network, whose weights in the last jump must count as frozen."""
    loss = LOSSES["ctm"](mu=0.0)
    live, grad = of_loss(loss, student, FlowMap(student.network), teacher)
    copied, expected = of_loss(loss, student, FlowMap(copy.deepcopy(student.network)), teacher)
    assert torch.equal(live["consistency"], copied["consistency"])
    assert torch.equal(grad, expected)
    assert set(LOSSES["ctm"](denoising=0.0).terms(batch(), student, student, teacher)) == {"consistency"}
