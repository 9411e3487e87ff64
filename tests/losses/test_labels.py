"""Every loss carries labels along with their samples, and none that loses them goes unnoticed."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from tests.exact import linear_gaussian
from tests.losses import generic
from tests.losses.generic import batch_of, random_mlp, terms
from ttfm.flow import labels
from ttfm.flow.flow_map import FlowMap
from ttfm.losses.itvm import ITVM

FIELD, EXACT = linear_gaussian()
SIZE = 12


class Labelled(nn.Module):
    """A small network with an output of its own for every class."""

    def __init__(self, seed):
        super().__init__()
        self.network = random_mlp(seed)
        self.table = nn.Parameter(torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))

    @property
    def features(self):
        return self.network.features

    def forward(self, s, t, x):
        found = labels.current(len(x))
        return self.network(s, t, x) + self.table[torch.full((len(x),), 3) if found is None else found]


def values(loss, classes):
    """The terms of one and the same batch whose samples have these classes."""
    models = []
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            models.append(FlowMap(loss.wrap(Labelled(seed), (2,)).double()))
    shift = Labelled(2)
    teacher = lambda t, x: shift(t, t, x).detach()  # noqa: E731
    batch = batch_of(loss, (FIELD, EXACT), SIZE)
    with labels.bound(classes):
        found = terms(loss, batch, *models, teacher)
    return {name: value.detach() for name, value in found.items()}


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        found = generic.cases(generic.losses(tuple(metafunc.config.getoption("loss_module"))))
        metafunc.parametrize("case", found, ids=str)


@pytest.mark.parametrize("sample", [0, SIZE - 1])
def test_a_samples_label_changes_its_own_terms_alone(case, sample):
    classes = torch.arange(SIZE) % 3
    other = classes.clone()
    other[sample] = (other[sample] + 1) % 3
    before, after = values(case.loss, classes), values(case.loss, other)
    changed = [(before[name] - after[name]).abs() > 1e-9 for name in before]
    if getattr(case.loss, "dispersive", 0):
        changed = changed[:1]  # the other term compares all samples of the batch, by the features before the labels
    moved = torch.stack(changed).any(0)
    assert moved[sample]
    assert moved.sum() == 1


@dataclass(frozen=True)
class Careless(ITVM):
    """Asks about half of the batch and does not say which half."""

    def terms(self, batch, student, target, teacher):
        half = SIZE // 2
        return {"half": student.velocity(batch.s[half:], batch.x0[half:]).square().sum(1)}


def test_a_loss_that_does_not_say_which_rows_it_asks_about_is_an_error():
    with pytest.raises(labels.LabelsError, match=r"bound for 12 samples .* asked about 6; .* rows"):
        values(Careless(), torch.zeros(SIZE, dtype=torch.long))
