"""Every loss, by its declaration alone: what it says of itself is true, and what it trains towards is the flow map.

A loss of a file outside the package is verified by the same tests:
``python -m pytest tests/losses/test_generic.py tests/training/test_states.py --loss-module FILE -k NAME``.
"""

import copy
import math

import pytest
import torch

from tests.exact import linear_gaussian, make_batch, mixture, translation
from tests.losses import generic
from tests.losses.generic import (
    CentralDifferences,
    Convention,
    Diagonal,
    Still,
    batch_of,
    check_residual,
    check_stationary,
    endpoint_error,
    fitted,
    random_mlp,
    terms,
    trained,
    wants_target,
    wrapped,
)
from ttfm.flow.fields import LearnedField
from ttfm.flow.flow_map import FlowMap
from ttfm.networks.mlp import MLP
from ttfm.networks.unet import UNet

LINEAR, MIXTURE = linear_gaussian(), mixture()
COARSE = mixture(steps=4)
"""The mixture's map to about 1e-3, far below what the gradients of single samples can tell, and four times as fast."""
STRAIGHT = translation()
SHIFTED = linear_gaussian((0.5, -1.0), 0.8)


def pytest_generate_tests(metafunc):
    if {"case", "loss"} & set(metafunc.fixturenames):
        classes = generic.losses(tuple(metafunc.config.getoption("loss_module")))
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", generic.cases(classes), ids=str)
        else:
            metafunc.parametrize("loss", [generic.usual(found) for found in classes], ids=[c.name for c in classes])


# What the exact map leaves of a loss.


def skip_other_flow(case, bound):
    if case.loss.learns == "own":
        pytest.skip("learns is own: its model is more than a flow map, and no exact one is known")
    if bound == math.inf:
        pytest.skip("the declared bound is infinite: the loss aims at another flow than the teacher's")


@pytest.mark.parametrize(("flow", "bound"), [(LINEAR, "residual"), (MIXTURE, "mixture")], ids=["gaussian", "mixture"])
def test_the_exact_map_is_a_fixed_point(case, flow, bound):
    if case.loss.conditional and not case.loss.exact_terms:
        pytest.skip("conditional: a single-sample target leaves a residual at the exact map")
    skip_other_flow(case, getattr(case.variant, bound))
    check_residual(case.loss, flow, getattr(case.variant, bound), case.variant.progress)


def test_a_map_that_stands_still_is_beyond_the_bound(case):
    """Where the bound is wide, it must still tell the exact map from nothing at all."""
    if case.loss.conditional or case.variant.residual <= 0.05 or case.loss.learns == "own":
        pytest.skip("the bound is narrow, or holds for the mean alone, or for a sampler of the loss's own")
    skip_other_flow(case, case.variant.residual)
    field, still = LINEAR[0], FlowMap(Still())
    batch = batch_of(case.loss, LINEAR, 1024, case.variant.progress)
    assert max(value.mean() for value in terms(case.loss, batch, still, still, field).values()) > case.variant.residual


def test_straight_paths_are_a_fixed_point_of_what_trains_on_trajectories(case):
    """What is trained on the ends of paths aims at straight ones, which only here are the teacher's."""
    if not case.loss.offline:
        pytest.skip("offline is empty: it is bounded at curved paths")
    check_residual(case.loss, STRAIGHT, 1e-12, case.variant.progress)


@pytest.mark.parametrize(
    ("flow", "bound", "rounds"), [(LINEAR, "residual", 8), (COARSE, "mixture", 4)], ids=["gaussian", "mixture"]
)
def test_the_exact_map_is_stationary_in_expectation(case, flow, bound, rounds):
    if not case.loss.conditional:
        pytest.skip("not conditional: the residual itself is bounded at the exact map")
    allowed = max(case.variant.residual, getattr(case.variant, bound))
    skip_other_flow(case, allowed)
    check_stationary(case.loss, flow, allowed, case.variant.progress, rounds)


# What a loss declares of the networks it asks.


class Teacher:
    """A frozen learned field that counts how often it is asked."""

    def __init__(self, seed=2):
        self.field = LearnedField(random_mlp(seed, torch.float32).requires_grad_(False))
        self.calls = 0

    def __call__(self, t, x):
        self.calls += 1
        return self.field(t, x)


def float_batch(loss, progress, count=32):
    """As in training: single precision, and trajectories for losses that train on them alone."""
    if loss.offline:
        return batch_of(loss, SHIFTED, count, progress, dtype=torch.float32)
    return make_batch(SHIFTED[0], count, dtype=torch.float32, progress=progress)


def test_terms_are_finite_values_per_sample_and_train_the_student_alone(case):
    for progress in case.moments:
        student, target = (FlowMap(wrapped(case.loss, seed, torch.float32)) for seed in (0, 1))
        values = terms(case.loss, float_batch(case.loss, progress), student, target, Teacher())
        assert all(value.shape == (32,) and value.isfinite().all() for value in values.values())
        case.loss.total(values).backward()
        assert all(p.grad is None for p in target.parameters()), "a gradient reaches the target"
        reached = [p.grad for p in student.parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in reached)
        assert sum(gradient.abs().sum() for gradient in reached) > 0, f"nothing is learned at progress {progress}"


def test_target_teacher_and_derivatives_are_used_exactly_where_declared(case):
    student, target, teacher = *(FlowMap(wrapped(case.loss, seed, torch.float32)) for seed in (0, 1)), Teacher()
    for progress in case.moments:
        terms(case.loss, float_batch(case.loss, progress), student, target, teacher)
    assert (sum(target.calls.values()) > 0) == wants_target(case.loss)
    assert (teacher.calls > 0) == case.loss.needs_teacher
    assert (student.calls["jvp"] + target.calls["jvp"] > 0) == case.loss.uses_jvp
    through = student.calls["jvp-backward"] > 0
    assert through == case.loss.trains_through_jvp, f"a gradient flows through the derivative: {through}"


def test_randomness_comes_from_the_batch_alone(case):
    def values(seed):
        torch.manual_seed(seed)
        student, target = (FlowMap(wrapped(case.loss, seed, torch.float32)) for seed in (0, 1))
        batch = float_batch(case.loss, case.variant.progress)
        given = copy.deepcopy({key: value for key, value in vars(batch).items() if isinstance(value, torch.Tensor)})
        found = terms(case.loss, batch, student, target, Teacher())
        assert all(torch.equal(value, getattr(batch, key)) for key, value in given.items()), "the batch was changed"
        return found

    with torch.random.fork_rng():
        one, other = values(0), values(1)
    assert all(torch.equal(one[name], other[name]) for name in one)


# What a loss computes on real networks.


def values_and_gradients(case, student, target, teacher, batch):
    values = terms(case.loss, batch, student, target, teacher)
    total, parameters = case.loss.total(values), list(student.parameters())
    gradients = torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True)
    return values, torch.cat([gradient.flatten() for gradient in gradients])


def assert_same(one, other, precision):
    for name in one[0]:
        assert torch.allclose(one[0][name], other[0][name], rtol=precision, atol=precision), f"term {name}"
    scale = other[1].abs().max()
    assert torch.allclose(one[1] / scale, other[1] / scale, rtol=0, atol=10 * precision), "gradient"


def skip_without_derivative(case):
    if not case.loss.uses_jvp:
        pytest.skip("uses_jvp is False: there is no derivative to check")


def test_derivatives_are_those_of_central_differences(case):
    skip_without_derivative(case)
    for progress in case.moments:
        found = []
        for kind in (FlowMap, CentralDifferences):
            student, target = kind(wrapped(case.loss, 0)), kind(wrapped(case.loss, 1))
            batch = batch_of(case.loss, SHIFTED, 16, progress)
            found.append(values_and_gradients(case, student, target, SHIFTED[0], batch))
        assert_same(*found, 1e-6)


def test_derivatives_of_an_image_network_are_those_of_central_differences(case):
    skip_without_derivative(case)
    shape, network = (1, 4, 4), UNet((1, 4, 4), channels=4, multipliers=[1], embedding=8, groups=2).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    flow = linear_gaussian((0.0,) * 16, 0.5)
    flat = batch_of(case.loss, flow, 4, case.variant.progress)
    found = []
    for kind in (FlowMap, CentralDifferences):
        states = {key: getattr(flat, key) for key in ("x0", "x1", "path")}
        images = {key: value.unflatten(-1, shape) for key, value in states.items() if value is not None}
        batch = type(flat)(**(vars(flat) | images | {"generator": torch.Generator().manual_seed(0)}))
        teacher = lambda t, x: flow[0](t, x.flatten(1)).unflatten(1, shape)  # noqa: E731
        student, target = kind(copy.deepcopy(network)), kind(copy.deepcopy(network))
        found.append(values_and_gradients(case, student, target, teacher, batch))
    assert_same(*found, 1e-6)


def test_both_conventions_of_a_networks_times_give_the_same_numbers(case):
    """One function written in (s, t) and in (s, t - s): equal terms, equal gradients."""
    if case.loss.learns == "own":
        pytest.skip("learns is own: what it adds to the network has its own inputs")
    for progress in case.moments:
        found = []
        for gap in (False, True):
            student, target = (FlowMap(Convention(seed, gap)) for seed in (0, 1))
            batch = batch_of(case.loss, SHIFTED, 16, progress)
            found.append(values_and_gradients(case, student, target, SHIFTED[0], batch))
        assert_same(*found, 1e-9)


# What a loss learns.


@pytest.fixture(scope="module")
def start():
    """A small network fitted to the velocity alone, the start of every training here."""
    return fitted(SHIFTED[0])


@pytest.fixture(scope="module")
def blank():
    """A network that knows nothing: its four steps end three times as far away as the teacher's Euler steps."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return MLP((2,), width=64, depth=2)


def test_a_short_training_learns_the_flow(loss, start, blank):
    if not loss.paired:
        pytest.skip("paired is False: its samples do not approximate the end of their noise's path")
    if any(variant.residual == math.inf and not variant.options for variant in loss.variants):
        pytest.skip("the declared bound is infinite: the loss aims at another flow than the teacher's")
    euler = endpoint_error(Diagonal(SHIFTED[0]), loss, SHIFTED)
    # One step, or four of a velocity or a sampler of its own, must leave less than the teacher's Euler steps do, where
    # the training starts (few losses get to the map in so short a time).
    error, bound = endpoint_error(trained(loss, SHIFTED, start), loss, SHIFTED), 0.75
    if error >= bound * euler and loss.learns in ("velocity", "own"):
        # The teacher's velocity itself cannot be better than that: it must be learned from nothing.
        error, bound = endpoint_error(trained(loss, SHIFTED, blank), loss, SHIFTED), 1.1
    assert error < bound * euler, f"endpoint error {error:.4f}, {bound:g} of the teacher's {euler:.4f} allowed"
