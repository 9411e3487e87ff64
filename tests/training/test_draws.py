"""Batches that are drawn ahead are those that would be drawn in time."""

import threading

import numpy as np
import pytest
import torch

from ttfm.data.images import Images
from ttfm.losses import load_modules
from ttfm.networks.unet import UNet
from ttfm.seeds import generator
from ttfm.training.draws import Ahead
from ttfm.training.trainer import Trainer, TrainingOptions

LOSSES = load_modules()
CPU = torch.device("cpu")


class Elsewhere(Images):
    """Images that are read ahead on a CPU too; they note which threads drew."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.threads = []

    def elsewhere(self, device):
        return True

    def draw(self, count, generator):
        self.threads.append(threading.current_thread().name)
        return super().draw(count, generator)


def left():
    return [thread for thread in threading.enumerate() if thread.name == "ttfm-ahead"]


def run(kind, classes=0, **options):
    images = np.random.default_rng(0).integers(0, 256, (100, 1, 4, 4), dtype=np.uint8)
    data = kind(images, np.arange(100) % 2 if classes else None, flips=True)
    torch.manual_seed(0)
    network = UNet((1, 4, 4), channels=8, multipliers=[1], embedding=16, classes=classes)
    settings = TrainingOptions(iterations=5, batch=8, log_every=1, **options)
    return Trainer(network, LOSSES["fm"](), data, None, settings, 0)


@pytest.mark.parametrize(("parts", "classes"), [(1, 0), (2, 2)])
def test_a_training_that_reads_ahead_has_the_same_bits_and_leaves_no_thread(parts, classes):
    plain, ahead = run(Images, classes, parts=parts), run(Elsewhere, classes, parts=parts)
    rows = [[progress.row["loss"] for progress in trainer.run()] for trainer in (plain, ahead)]
    assert rows[0] == rows[1] and len(rows[0]) == 5
    for a, b in zip(plain.network.parameters(), ahead.network.parameters(), strict=True):
        assert torch.equal(a, b)
    # Every batch but the first was drawn in a thread, each once.
    assert ahead.data.threads == ["MainThread"] + ["ttfm-ahead"] * (5 * parts - 1)
    assert not left()


def test_on_a_cpu_nothing_is_read_ahead():
    plain = run(Images)
    assert not plain.data.elsewhere(CPU)
    plain.batch(0, CPU)
    assert not left()


def test_a_batch_out_of_turn_is_the_one_asked_for():
    plain, ahead = run(Images), run(Elsewhere)
    for step in (3, 3, 0, 4):
        batch, other = plain.batch(step, CPU), ahead.batch(step, CPU)
        assert torch.equal(batch.x1, other.x1) and torch.equal(batch.x0, other.x0) and torch.equal(batch.t, other.t)


def test_what_goes_wrong_in_the_thread_comes_up_where_its_batch_is_asked_for():
    def draw(key):
        if key == (1, 0):
            raise OSError("the disk is gone")
        source = generator(0, "batch", key[0])
        return source, torch.zeros(2), None

    ahead = Ahead(draw, CPU)
    ahead.take((0, 0), (1, 0))
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.take((1, 0), (2, 0))
    assert not left()
    assert ahead.take((2, 0), None)[1].shape == (2,)
