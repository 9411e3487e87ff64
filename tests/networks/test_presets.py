"""Presets are the networks they are named after, by their parameters and the operations of one evaluation."""

import pytest
import torch

from ttfm.cli import main
from ttfm.networks.cost import forward_flops, parameter_count, shown
from ttfm.networks.mlp import MLP
from ttfm.networks.presets import PRESETS, with_preset
from ttfm.registry import build_network

SIZES = {
    ("unet", "S"): (9_220_675, 3.19e9),
    # Ho et al. have 35.7 M: here the time scales as well as shifts, 513 more weights per channel of a block.
    ("unet", "cifar10-35m"): (36_807_811, 12.4e9),
    # DDPM++ of EDM has 55.7 M.
    ("unet", "cifar10-55m"): (55_944_195, 40.9e9),
    ("unet", "B"): (36_807_811, 12.4e9),
    ("unet", "L"): (55_944_195, 40.9e9),
    # Peebles & Xie: 33, 130 and 458 M, with labels and another embedding of the times; on their 32 x 32 latents
    # 6.06, 23.0 and 80.7 G multiplications.
    ("dit", "S"): (32_381_580, 2 * 6.06e9),
    ("dit", "B"): (129_347_340, 2 * 23.0e9),
    ("dit", "L"): (456_550_412, 2 * 80.7e9),
}


@pytest.mark.parametrize(("name", "preset"), SIZES)
def test_sizes(name, preset):
    with torch.device("meta"):
        network = build_network({"name": name} | with_preset(name, {"preset": preset}), (3, 32, 32))
    parameters, flops = SIZES[name, preset]
    assert parameter_count(network) == parameters
    assert forward_flops(network, (3, 32, 32)) == pytest.approx(flops, rel=0.01)


def test_every_preset_has_a_size_here():
    assert {(name, preset) for name, presets in PRESETS.items() for preset in presets} == set(SIZES)


def test_operations_of_a_perceptron_are_twice_its_products():
    # Times: 2 times 4 features, then two embeddings of 9 features; then the layers.
    products = 8 + 2 * 9 * 16 + 2 * 16 + 16 * 16 + 16 * 2
    assert forward_flops(MLP((2,), width=16, depth=2), (2,)) == 2 * products


def test_options_beside_a_preset_win():
    assert with_preset("dit", {"preset": "S", "heads": 12, "patch": 4}) == PRESETS["dit"]["S"] | {
        "heads": 12,
        "patch": 4,
    }
    assert with_preset("mlp", {"width": 8}) == {"width": 8}


def test_the_table_lists_them_all(capsys):
    main(["networks", "--shape", "1", "16", "16"])
    lines = capsys.readouterr().out.splitlines()
    assert [tuple(line.split()[:2]) for line in lines[1:]] == list(SIZES)
    assert shown(35_746_307) == "35.7 M" and shown(1.234e9) == "1.23 G"


def test_classes_cost_nothing_and_gradients_stay():
    options = {"name": "dit", "width": 32, "depth": 2, "heads": 2, "patch": 2}
    plain, labelled = (build_network(options | more, (1, 8, 8)) for more in ({}, {"classes": 3}))
    assert forward_flops(plain, (1, 8, 8)) == forward_flops(labelled, (1, 8, 8))
    assert all(weight.requires_grad for weight in labelled.parameters())
