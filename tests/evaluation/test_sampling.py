import torch

from tests.exact import linear_gaussian
from ttfm.evaluation.sampling import any_to_any_path, consistency_sample, velocity_sample
from ttfm.flow.solvers import solve


def noise(count=64):
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_an_exact_map_arrives_at_the_same_place_with_any_number_of_steps():
    _, exact = linear_gaussian((0.5, -1.0), 0.6)
    ends = [any_to_any_path(exact, noise(), k)[-1] for k in (1, 2, 7)]
    assert torch.allclose(ends[0], ends[1], atol=1e-12)
    assert torch.allclose(ends[0], ends[2], atol=1e-12)


def test_a_path_visits_equal_intervals():
    seen = []

    def spy(s, t, x):
        seen.append((s[0].item(), t[0].item()))
        return x

    assert len(any_to_any_path(spy, noise(), 4)) == 5
    assert seen == [(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)]


def test_consistency_sampling_jumps_to_one_and_renoises_along_the_interpolant():
    jumps = []

    def spy(s, t, x):
        jumps.append((s[0].item(), t[0].item(), x.clone()))
        return torch.full_like(x, 4.0)

    fresh = {1: torch.full((64, 2), 1.0), 2: torch.full((64, 2), -1.0)}
    consistency_sample(spy, noise(), 3, lambda i: fresh[i].double())
    assert [t for _, t, _ in jumps] == [1.0, 1.0, 1.0]
    assert torch.equal(jumps[0][2], noise())
    assert torch.allclose(jumps[1][2], torch.full((64, 2), 2 / 3 * 1.0 + 1 / 3 * 4.0, dtype=torch.float64))
    assert torch.allclose(jumps[2][2], torch.full((64, 2), 1 / 3 * -1.0 + 2 / 3 * 4.0, dtype=torch.float64))


def test_renoised_samples_of_an_exact_map_keep_the_data_law():
    _, exact = linear_gaussian((0.5, -1.0), 0.6)
    generator = torch.Generator().manual_seed(1)
    samples = consistency_sample(
        exact, noise(20_000), 4, lambda i: torch.randn(20_000, 2, generator=generator, dtype=torch.float64)
    )
    assert torch.allclose(samples.mean(0), torch.tensor([0.5, -1.0], dtype=torch.float64), atol=0.02)
    assert torch.allclose(samples.std(0), torch.tensor([0.6, 0.6], dtype=torch.float64), atol=0.02)


def test_velocity_models_take_euler_steps():
    field, _ = linear_gaussian((0.5, -1.0), 0.6)
    assert torch.equal(velocity_sample(field, noise(), 5), solve(field, noise(), "euler", 5))
