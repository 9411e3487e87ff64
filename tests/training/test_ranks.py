"""A batch in parts, computed one after another or by several ranks, is one step of the joint batch for every loss."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.test_states import trainer
from ttfm.losses import load_modules
from ttfm.losses.base import Batch
from ttfm.training.ranks import Ranks, join
from ttfm.training.together import interleave

LOSSES = sorted(load_modules())
STEPS = 2


def trained(name, ranks=None):
    """Weights, averages and the curve's numbers after some steps of a batch in two parts."""
    run = trainer(name, parts=2, ranks=ranks)
    rows = []
    for progress in run.run():
        if progress.step == STEPS:
            rows = [value / STEPS for _, value in sorted(run.meter.sums.items())]
            break
    found = {f"{name}/{part}/{k}": v for part, n in run._networks().items() for k, v in n.state_dict().items()}
    found |= {f"{name}/gradient-{i}": w.grad for i, w in enumerate(run.network.parameters()) if w.grad is not None}
    calls = torch.tensor([run.calls[key] for key in sorted(run.calls)])
    return found | {f"{name}/sums": torch.tensor(rows), f"{name}/calls": calls}


def main(path):
    """What each rank does; the first writes."""
    torch.set_num_threads(1)
    ranks = join("cpu")
    found = {}
    for name in LOSSES:
        found |= trained(name, ranks)
    if ranks.rank == 0:
        save_file({name: value.clone() for name, value in found.items()}, path)
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks") / "found.safetensors"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, "-m", "tests.training.test_ranks", str(path)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return load_file(path)


@pytest.mark.parametrize("name", LOSSES)
def test_two_ranks_train_as_one_process_does(name, shared):
    for key, alone in trained(name).items():
        torch.testing.assert_close(shared[key], alone, rtol=1e-5, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_two_parts_is_the_mean_of_theirs(name):
    run, halves = trainer(name, parts=2), trainer(name, parts=2)
    gradients = []
    for part in range(2):
        halves.network.zero_grad()
        batch = halves.batch(0, torch.device("cpu"), part)
        assert len(batch.x0) == 8
        teacher = halves.teacher if halves.loss.needs_teacher else None
        terms = halves.loss.terms(batch, halves.student, halves.target, teacher)
        halves.loss.total(terms).backward()
        gradients.append([None if w.grad is None else w.grad.clone() for w in halves.network.parameters()])
    next(run.run())
    for weight, first, second in zip(run.network.parameters(), *gradients, strict=True):
        if weight.grad is not None:
            # A part may leave a weight out.
            expected = sum(gradient for gradient in (first, second) if gradient is not None) / 2
            torch.testing.assert_close(weight.grad, expected, rtol=1e-4, atol=1e-6)


@dataclass(frozen=True)
class Joint(Batch):
    """Two parts as one batch, one after the other: what a loss asks of it is what it would get from each of them."""

    parts: tuple[Batch, ...] = ()

    @classmethod
    def of(cls, *parts):
        fields = {name: torch.cat([getattr(part, name) for part in parts]) for name in ("x0", "x1", "s", "t")}
        return cls(**fields, generator=None, progress=parts[0].progress, parts=parts)

    def uniform(self):
        return torch.cat([part.uniform() for part in self.parts])


# A loss may treat the first samples of a batch in another way than the rest: those of a mixed batch are the first of
# its parts. Losses that look at groups of neighbours have theirs in batches that are not mixed.
CASES = {name: ({}, interleave) for name in LOSSES}
CASES |= {"wcfm": ({"group": 8}, Joint.of), "fm of pairs": ({"coupling": "ot", "group": 8}, Joint.of)}


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_gradient_of_two_parts_is_that_of_the_joint_batch(case):
    options, joined = CASES[case]
    loss = load_modules()[case.split()[0]](**options)
    run, whole = (trainer(loss.name, loss=loss, parts=2) for _ in range(2))
    parts = [whole.batch(0, torch.device("cpu"), part) for part in range(2)]
    batch = joined(parts) if joined is interleave else joined(*parts)
    assert len(batch.x0) == 16
    teacher = whole.teacher if whole.loss.needs_teacher else None
    whole.loss.total(whole.loss.terms(batch, whole.student, whole.target, teacher)).backward()
    next(run.run())
    pairs = [
        (found.grad, expected.grad)
        for found, expected in zip(run.network.parameters(), whole.network.parameters(), strict=True)
        if expected.grad is not None
    ]
    assert any(expected.any() for _, expected in pairs)
    for found, expected in pairs:
        assert (found - expected).norm() <= 1e-4 * expected.norm()


def test_parts_differ_and_the_first_is_that_of_a_batch_in_one():
    run, whole = trainer("fm", parts=2), trainer("fm", batch=8)
    first, second = (run.batch(3, torch.device("cpu"), part) for part in range(2))
    assert torch.equal(first.x1, whole.batch(3, torch.device("cpu")).x1)
    assert not torch.equal(first.x0, second.x0)


def test_parts_that_ranks_cannot_share_evenly_are_refused():
    with pytest.raises(ValueError, match=r"training\.parts: 2 parts .* among 3 ranks"):
        trainer("fm", parts=2, ranks=Ranks(0, 3))
    with pytest.raises(ValueError, match="parts: a batch of 16 cannot be divided into 3"):
        trainer("fm", parts=3)


if __name__ == "__main__":
    main(sys.argv[1])
