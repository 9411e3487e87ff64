"""A compiled network trains as the network itself does, tangents included."""

import copy

import pytest
import torch

from tests.exact import linear_gaussian
from tests.losses.generic import GaussianData
from ttfm.flow.fields import LearnedField
from ttfm.flow.flow_map import FlowMap
from ttfm.losses import load_modules
from ttfm.networks.mlp import MLP
from ttfm.networks.unet import UNet
from ttfm.training import compiling
from ttfm.training.compiling import compiled
from ttfm.training.trainer import Trainer, TrainingOptions

try:
    compiled(MLP((2,), width=4, depth=1))
except ValueError:
    pytestmark = pytest.mark.skip(reason="no compiler of C++ on this machine")


def networks():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one = MLP((2,), width=16, depth=2)
    return one, copy.deepcopy(one).requires_grad_(False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["itvm", "lfmd"])
def test_a_compiled_training_has_the_numbers_of_the_plain_one(name):
    field, found = linear_gaussian()[0], []
    for wanted in (False, True):
        network, teacher = networks()
        options = TrainingOptions(iterations=3, batch=16, probe_every=0, compile=wanted)
        trainer = Trainer(network, load_modules()[name](), GaussianData(field), LearnedField(teacher), options, seed=0)
        assert all(
            (model._compiled_call_impl is not None) == wanted
            for model in {trainer.network, trainer.target.network if trainer.target else network}
        )
        for _ in trainer.run():
            pass
        found.append([*trainer.network.state_dict().values(), *trainer.evaluation.network.state_dict().values()])
        assert trainer.evaluation.network._compiled_call_impl is None
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-6) for one, other in zip(*found, strict=True))


def test_tangents_are_those_of_the_network_itself():
    network, _ = networks()
    with torch.no_grad():
        network.time.gap.weight.normal_()
    s, t, x = torch.rand(5), torch.rand(5), torch.randn(5, 2)
    plain = FlowMap(copy.deepcopy(network)).lagrangian(s, t, x)
    assert plain[1].abs().max() > 0
    assert all(torch.equal(*pair) for pair in zip(FlowMap(compiled(network)).lagrangian(s, t, x), plain, strict=True))


def test_networks_with_classes_are_refused():
    network = UNet((1, 4, 4), channels=4, multipliers=[1], embedding=8, groups=2, classes=3)

    class Labelled:
        classes = 3

        def draw(self, count, generator):
            raise AssertionError

    with pytest.raises(ValueError, match=r"training\.compile: networks with classes are not compiled"):
        Trainer(network, load_modules()["fm"](), Labelled(), None, TrainingOptions(compile=True), seed=0)


def test_a_missing_compiler_of_c_is_said_before_any_step(monkeypatch):
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"training\.compile: on a CPU torch's compiler needs one of C\+\+"):
        compiled(networks()[0])
