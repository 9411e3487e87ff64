from __future__ import annotations

import pytest
import torch

from tests.exact import linear_gaussian
from ttfm.evaluation import defects
from ttfm.evaluation.defects import semigroup_defect, semigroup_map, tangent_defect, tangent_map

MEAN, STD = torch.tensor([1.0, -2.0], dtype=torch.float64), 0.5
TIMES = torch.linspace(0, 1, 33, dtype=torch.float64)


def spread(t: torch.Tensor) -> torch.Tensor:
    return ((1 - t) ** 2 + t**2 * STD**2).sqrt()


class ExactMap:
    """The affine flow map between N(0, I) and N(m, sigma^2 I), and its velocity."""

    def __call__(self, s, t, x):
        s, t = s[:, None], t[:, None]
        return t * MEAN + spread(t) / spread(s) * (x - s * MEAN)

    def average_velocity(self, s, t, x):
        assert torch.equal(s, t)
        return self.velocity(s, x)

    @staticmethod
    def velocity(t, x):
        t = t[:, None]
        return MEAN + (t * STD**2 - (1 - t)) / spread(t) ** 2 * (x - t * MEAN)


class EulerMap(ExactMap):
    """One explicit Euler step: right on the diagonal, wrong everywhere else."""

    def __call__(self, s, t, x):
        return x + (t - s)[:, None] * self.velocity(s, x)


class Bent:
    """phi = x + (t - s)^2 e with the constant vector e = (3, 4), whose defects are known."""

    bend = torch.tensor([3.0, 4.0], dtype=torch.float64)

    def __call__(self, s, t, x):
        return x + (t - s)[:, None] ** 2 * self.bend

    def average_velocity(self, s, t, x):
        return (t - s)[:, None] * self.bend.expand_as(x)

    def lagrangian(self, s, t, x):
        return self.average_velocity(s, t, x), self.bend.expand_as(x)


def paths(count: int = 16) -> torch.Tensor:
    x0 = torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    zero = torch.zeros(count, dtype=torch.float64)
    return torch.stack([ExactMap()(zero, zero + t, x0) for t in TIMES])


def test_the_exact_map_has_no_defect():
    assert semigroup_defect(ExactMap(), TIMES, paths()) < 1e-14
    assert tangent_defect(ExactMap(), ExactMap.velocity, TIMES, paths()) == 0


def test_an_euler_step_is_tangent_but_no_semigroup():
    assert tangent_defect(EulerMap(), ExactMap.velocity, TIMES, paths()) == 0
    assert semigroup_defect(EulerMap(), TIMES, paths()) > 0.01


def test_the_semigroup_defect_is_a_root_mean_square_norm():
    # Jumps of 1/4 and 3/4 against one of 1: (1/16 + 9/16 - 1) |e| = -3/8 * 5.
    grid = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    states = torch.zeros(3, 4, 2, dtype=torch.float64)
    assert semigroup_defect(Bent(), grid, states) == pytest.approx(3 / 8 * 5, rel=1e-14)


def test_the_tangent_defect_is_a_root_mean_square_norm():
    def velocity(t, x):
        return torch.where(t > 0.5, 2.0, 0.0)[:, None] * torch.tensor([0.6, 0.8], dtype=torch.float64).expand_as(x)

    grid = torch.tensor([0.0, 0.4, 0.6, 0.97], dtype=torch.float64)
    states = torch.zeros(4, 3, 2, dtype=torch.float64)
    # Norms 0, 0, 2, 2.
    assert tangent_defect(Bent(), velocity, grid, states) == pytest.approx(2**0.5, rel=1e-14)


def test_the_tangent_defect_leaves_out_the_stiff_end():
    def velocity(t, x):
        return torch.where(t > 0.98, 1e6, 0.0)[:, None].expand_as(x)

    assert tangent_defect(Bent(), velocity, TIMES, paths()) == 0
    assert tangent_defect(Bent(), velocity, TIMES, paths(), latest=1.0) > 1e5


def test_the_maps_of_defects_are_those_of_single_pairs_and_times():
    states = torch.zeros(len(TIMES), 4, 2, dtype=torch.float64)
    found = {(s, t): value for s, t, value in semigroup_map(Bent(), TIMES, states, cells=4)}
    quarters = [0.0, 0.25, 0.5, 0.75, 1.0]
    assert sorted(found) == [(s, t) for s in quarters for t in quarters if s < t]
    # Two jumps of half the time against one: (1/4 + 1/4 - 1) (t - s)^2 |e|.
    for (s, t), value in found.items():
        assert value == pytest.approx(2.5 * (t - s) ** 2, rel=1e-12)

    def velocity(t, x):
        return t[:, None] * torch.tensor([0.6, 0.8], dtype=torch.float64).expand_as(x)

    # The curve's tangent is 2 (t - s) e, in the direction of the velocity, whose norm is t.
    tangents = {(s, t): value for s, t, value in tangent_map(Bent(), velocity, TIMES, states, cells=4)}
    ends = [0.0, 0.25, 0.5, 0.75, 0.98]
    assert sorted(tangents) == [(s, t) for s in quarters for t in ends if s <= t]
    for (s, t), value in tangents.items():
        assert value == pytest.approx(abs(10 * (t - s) - t), rel=1e-12)
    whole = [(s, t) for s, t, _ in tangent_map(Bent(), velocity, TIMES, states, cells=4, latest=1.0)]
    assert sorted(whole) == [(s, t) for s in quarters for t in quarters if s <= t]


def test_the_tangents_of_the_exact_map_are_velocities_where_its_curves_have_come_to():
    field, flow_map = linear_gaussian((1.0, -2.0))
    x0 = torch.randn(16, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    states = torch.stack([flow_map(torch.zeros(16), torch.zeros(16) + t, x0) for t in TIMES])
    exact = [value for *_, value in tangent_map(flow_map, field, TIMES, states)]
    assert max(exact) < 1e-12
    wrong = [value for s, t, value in tangent_map(flow_map, lambda t, x: field(0 * t, x), TIMES, states) if t > 0]
    assert min(wrong) > 1e-3


def test_states_come_from_the_path_at_the_first_time():
    class Recorder(ExactMap):
        def __call__(self, s, t, x):
            assert ((s < t) & (s >= 0) & (t <= 1)).all()
            self.seen = [*getattr(self, "seen", []), (s, x)]
            return super().__call__(s, t, x)

    recorder, states = Recorder(), paths()
    semigroup_defect(recorder, TIMES, states)
    for s, x in recorder.seen[::3]:
        index = (s[:, None] == TIMES).int().argmax(dim=1)
        gaps = (states[index] - x[:, None]).abs().amax(dim=2).amin(dim=1)
        assert gaps.max() < 1e-12


def test_equal_seeds_agree_and_others_differ():
    first = semigroup_defect(EulerMap(), TIMES, paths(), seed=0)
    assert semigroup_defect(EulerMap(), TIMES, paths(), seed=0) == first
    assert semigroup_defect(EulerMap(), TIMES, paths(), seed=1) != first


def test_the_batch_does_not_matter(monkeypatch):
    whole = semigroup_defect(EulerMap(), TIMES, paths())
    monkeypatch.setattr(defects, "ROUNDS", 1)
    assert semigroup_defect(EulerMap(), TIMES, paths()) == pytest.approx(whole, rel=1e-12)


def test_no_gradient_is_recorded():
    class Trainable(Bent):
        def __init__(self):
            self.bend = Bent.bend.clone().requires_grad_()

        def __call__(self, s, t, x):
            result = super().__call__(s, t, x)
            assert not result.requires_grad
            return result

    assert semigroup_defect(Trainable(), TIMES, paths()) > 0


def test_what_cannot_be_measured_is_said():
    class Broken(Bent):
        bend = torch.tensor([float("nan"), 0.0], dtype=torch.float64)

    with pytest.raises(ValueError, match="semigroup defect is not finite"):
        semigroup_defect(Broken(), TIMES, paths())
    with pytest.raises(ValueError, match="tangent defect is not finite"):
        tangent_defect(Broken(), ExactMap.velocity, TIMES, paths())
    with pytest.raises(ValueError, match="at least 3 times"):
        semigroup_defect(Bent(), TIMES[:2], paths()[:2])
    with pytest.raises(ValueError, match=r"not \(5,\) and \(33, 16, 2\)"):
        semigroup_defect(Bent(), TIMES[:5], paths())
    with pytest.raises(ValueError, match=r"at most 0\.98; the earliest is 1"):
        tangent_defect(Bent(), ExactMap.velocity, TIMES[-1:], paths()[-1:])
