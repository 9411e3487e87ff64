"""What must hold on a GPU as on the CPU; skipped where there is none."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from ttfm.data.densities import Ring
from ttfm.data.digits import Digits
from ttfm.data.images import Images
from ttfm.flow.flow_map import FlowMap
from ttfm.flow.schedules import optimal_schedules
from ttfm.flow.solvers import trajectory
from ttfm.losses import load_modules
from ttfm.networks.dit import DiT
from ttfm.networks.mlp import MLP
from ttfm.networks.unet import UNet
from ttfm.seeds import generator
from ttfm.training.draws import Ahead
from ttfm.training.states import States
from ttfm.training.together import Together
from ttfm.training.trainer import NonFiniteError, Trainer, TrainingOptions, Trajectories

pytestmark = pytest.mark.gpu
LOSSES = load_modules()
STUDENT_LOSSES = sorted(name for name in LOSSES if name != "velocity_regression")


@pytest.mark.parametrize("name", STUDENT_LOSSES)
def test_every_loss_trains_on_the_gpu(name):
    torch.manual_seed(0)
    ring = Ring()
    loss, stored = LOSSES[name](), None
    if loss.offline:
        states = list(trajectory(ring.field(), torch.randn(1024, 2, device="cuda"), "rk4", 16))
        times = torch.linspace(0, 1, 17, device="cuda")
        stored = Trajectories(times, torch.stack(states), optimal_schedules(times, torch.stack(states)))
    net = loss.wrap(MLP((2,), width=32, depth=2).cuda(), (2,), stored and stored.schedules).cuda()
    options = TrainingOptions(iterations=200, batch=256, log_every=20)
    run = Trainer(net, loss, ring, ring.field(), options, 0, trajectories=stored)
    rows = [progress.row for progress in run.run() if progress.row]
    assert all(parameter.isfinite().all() for parameter in run.evaluation.network.parameters())
    assert next(run.evaluation.network.parameters()).is_cuda
    if name in ("fm", "lfmd", "itvm"):
        assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: MLP((2,), 16, 2), (2,)),
        (lambda: UNet((1, 8, 8), channels=8, patch=2, embedding=16, attention=[4], heads=2), (1, 8, 8)),
        (lambda: DiT((1, 8, 8), width=16, depth=2, heads=2, patch=4), (1, 8, 8)),
    ],
    ids=["mlp", "unet", "dit"],
)
def test_derivatives_on_the_gpu_against_central_differences(build, shape):
    torch.manual_seed(0)
    network = build().double().cuda()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    s, t = torch.rand(2, 3, dtype=torch.float64, device="cuda").sort(dim=0).values
    x, v, h = torch.randn(3, *shape, dtype=torch.float64, device="cuda"), torch.randn(3, *shape).double().cuda(), 1e-5
    _, dudt = FlowMap(network).lagrangian(s, t, x)
    assert torch.allclose(dudt, (network(s, t + h, x) - network(s, t - h, x)) / (2 * h), atol=1e-7)
    _, total = FlowMap(network).eulerian(s, t, x, v)
    assert torch.allclose(total, (network(s + h, t, x + h * v) - network(s - h, t, x - h * v)) / (2 * h), atol=1e-7)


def image_run(**options):
    torch.manual_seed(0)
    net = UNet((1, 8, 8), channels=16, attention=[4], heads=2, embedding=32).cuda()
    settings = TrainingOptions(batch=64, **options)
    return Trainer(net, LOSSES["meanflow"](), Digits(), None, settings, 0)


def test_low_precision_trains_images_like_full_precision():
    losses = {}
    for precision in ("float32", "bfloat16"):
        run = image_run(iterations=100, log_every=50, precision=precision, clip=1.0)
        losses[precision] = [progress.row["loss"] for progress in run.run() if progress.row]
        assert run.network.down[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)


class OnTheGpu:
    """Data that need no copy."""

    def __init__(self, *shape):
        self.shape = shape

    def sample(self, count, generator):
        return torch.randn(count, *self.shape, generator=generator, device=generator.device)


def take_five_without_waiting(steps):
    """The first may wait, which allocates and chooses algorithms."""
    next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            next(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_between_rows_nothing_waits_for_the_gpu():
    run = image_run(iterations=12, log_every=6)
    run.draws = replace(run.draws, data=OnTheGpu(1, 8, 8))
    steps = run.run()
    take_five_without_waiting(steps)
    assert next(steps).row["loss"] > 0


def test_a_set_that_does_not_fit_is_read_ahead_and_trains_the_same_to_the_bit(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (500, 1, 8, 8), dtype=np.uint8)
    rows = []
    for free in (2**40, 0):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, free))
        run = image_run(iterations=12, log_every=3)
        data = Images(images, flips=True)
        run.draws = replace(run.draws, data=data)
        assert data.elsewhere(next(run.network.parameters()).device) is (free == 0)
        rows.append([progress.row["loss"] for progress in run.run() if progress.row])
        assert not [thread for thread in threading.enumerate() if thread.name == "ttfm-ahead"]
    assert rows[0] == rows[1]


def test_nothing_waits_for_the_gpu_while_a_set_is_read_ahead(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    device = torch.device("cuda", 0)
    data = Images(np.random.default_rng(0).integers(0, 256, (500, 1, 8, 8), dtype=np.uint8), flips=True)

    def draw(key):
        source = generator(0, "batch", key[0], device)
        return source, data.sample(64, source), None

    ahead = Ahead(draw, device)
    # The first draws allocate memory, for which a GPU is waited for.
    for step in range(3):
        ahead.take((step, 0), (step + 1, 0))
    torch.cuda.synchronize()
    torch.cuda._sleep(5 * 10**9)
    queued = torch.cuda.Event()
    queued.record()
    drawn = [ahead.take((step, 0), (step + 1, 0)) for step in (3, 4, 5)][-1]
    # The batch is there for the taking while the device still computes what was asked of it before.
    assert not queued.query()
    assert torch.equal(drawn[1], draw((5, 0))[1])


def test_a_fault_is_named_with_its_step_when_it_is_looked_at():
    run = image_run(iterations=20, log_every=10)
    total, seen = run.loss.total, []

    def poisoned(terms):
        seen.append(0)
        return total(terms) * (float("nan") if len(seen) == 4 else 1.0)

    object.__setattr__(run.loss, "total", poisoned)
    with pytest.raises(NonFiniteError, match="'loss' at step 4 "):
        list(run.run())
    assert len(seen) == 10


@pytest.mark.parametrize("name", ["fm", "itvm", "lfmd"])
def test_a_broken_training_goes_on_as_if_it_had_never_stopped(name, tmp_path):
    """Within the rounding of sums whose order a GPU does not fix: a thousandth of the weights' change."""

    def trainer():
        torch.manual_seed(0)
        ring = Ring()
        options = TrainingOptions(iterations=20, batch=256, log_every=5)
        return Trainer(MLP((2,), width=32, depth=2).cuda(), LOSSES[name](), ring, ring.field(), options, 0)

    whole, first, second = trainer(), trainer(), trainer()
    start = torch.cat([weight.detach().flatten().clone() for weight in whole.network.parameters()])
    for _ in whole.run():
        pass
    for progress in first.run():
        if progress.step == 7:
            break
    States(tmp_path, "").save(first.state())
    second.restore(States(tmp_path, "").newest())
    for _ in second.run():
        pass
    ends = [torch.cat([weight.detach().flatten() for weight in run.network.parameters()]) for run in (whole, second)]
    assert (ends[0] - ends[1]).norm() <= 1e-3 * (ends[0] - start).norm()
    assert second.calls == whole.calls


def seeds(name, **options):
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        network, ring = MLP((2,), width=32, depth=2).cuda(), Ring()
        settings = TrainingOptions(**{"iterations": 5, "batch": 64, "log_every": 5, "probe_every": 0} | options)
        found.append(Trainer(network, LOSSES[name](), ring, ring.field(), settings, seed))
    return found


@pytest.mark.parametrize("name", ["fm", "itvm", "lfmd", "meanflow"])
def test_between_rows_seeds_that_train_together_do_not_wait_for_the_gpu(name):
    trainers = seeds(name, iterations=12, log_every=6)
    for trainer in trainers:
        trainer.draws = replace(trainer.draws, data=OnTheGpu(2))
        if trainer.loss.needs_teacher:
            trainer.teacher = lambda t, x: -x
    steps = Together(trainers).run()
    take_five_without_waiting(steps)
    assert all(progress.row["loss"] > 0 for progress in next(steps))


@pytest.mark.parametrize("name", ["fm", "itvm", "lfmd", "meanflow"])
def test_seeds_train_together_on_the_gpu_as_alone(name):
    several = Together(seeds(name))
    for _ in several.run():
        pass
    for found, alone in zip(several.trainers, seeds(name), strict=True):
        for _ in alone.run():
            pass
        assert found.step == alone.step == 5
        weights = found.evaluation.network.parameters(), alone.evaluation.network.parameters()
        for one, other in zip(*weights, strict=True):
            torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-5)
