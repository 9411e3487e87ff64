import copy
import subprocess
import sys

import torch
from torch import nn

from ttfm.training.adamw import AdamW

TRAIN = """
import sys
import torch
from ttfm.registry import build_data
from ttfm.losses.fm import FlowMatching
from ttfm.networks.mlp import MLP
from ttfm.training.trainer import Trainer, TrainingOptions
options = TrainingOptions(iterations=2, batch=4)
for _ in Trainer(MLP((2,), 8, 2), FlowMatching(), build_data({"name": "ring"}), None, options, 0).run():
    pass
sys.exit("torch._dynamo" in sys.modules)
"""


def train(network, step, zero):
    for index in range(20):
        zero()
        x = torch.randn(16, 3, generator=torch.Generator().manual_seed(index))
        network[0](x).square().sum().backward()
        if index >= 10:
            network[1](x).exp().mean().backward()
        step(1e-2 / (1 + index))


def test_it_takes_torchs_own_steps_also_where_some_weights_have_no_gradient():
    torch.manual_seed(0)
    ours = nn.ModuleList([nn.Linear(3, 5), nn.Linear(3, 5)])
    theirs = copy.deepcopy(ours)
    optimizer = AdamW(ours.parameters(), beta2=0.95, weight_decay=0.1)
    train(ours, optimizer.step, optimizer.zero_grad)
    reference = torch.optim.AdamW(theirs.parameters(), betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step(lr):
        for group in reference.param_groups:
            group["lr"] = lr
        reference.step()

    train(theirs, step, reference.zero_grad)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_training_does_not_import_torchs_compiler():
    assert subprocess.run([sys.executable, "-c", TRAIN], timeout=300).returncode == 0
