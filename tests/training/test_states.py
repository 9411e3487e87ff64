"""A broken training goes on as if it had never stopped; a state that is damaged or of another training is not used."""

import errno
import os

import pytest
import torch

from tests.losses import generic
from ttfm.data.densities import Ring
from ttfm.losses import load_modules
from ttfm.networks.mlp import MLP
from ttfm.training.ranks import Ranks
from ttfm.training.states import State, States, files_of, remove
from ttfm.training.trainer import Trainer, TrainingOptions, Trajectories

LOSSES = load_modules()
ITERATIONS = 12


def pytest_generate_tests(metafunc):
    """As of the tests of losses: a loss of a file outside the package too, given by ``--loss-module FILE``."""
    if "loss" in metafunc.fixturenames:
        classes = sorted(generic.losses(tuple(metafunc.config.getoption("loss_module"))), key=lambda found: found.name)
        metafunc.parametrize("loss", [generic.usual(found) for found in classes], ids=[c.name for c in classes])


def trainer(name, ranks=None, loss=None, **options):
    ring, loss = Ring(), loss or LOSSES[name]()
    torch.manual_seed(0)
    trajectories = None
    if loss.offline:
        times = torch.linspace(0, 1, 5)
        path = torch.randn(5, 64, 2)
        trajectories = Trajectories(times, path, {k: torch.linspace(0, 1, k + 1) for k in (1, 2, 4, 8)})
    network = loss.wrap(MLP((2,), width=8, depth=2), (2,), trajectories.schedules if trajectories else None)
    settings = {"iterations": ITERATIONS, "batch": 16, "log_every": 5, "probe_every": 0} | options
    together = {"trajectories": trajectories, "ranks": ranks or Ranks()}
    return Trainer(network, loss, ring, ring.field(), TrainingOptions(**settings), 0, **together)


def numbers(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def networks(run):
    return {f"{n}/{k}": v for n, network in run._networks().items() for k, v in network.state_dict().items()}


def test_every_loss_goes_on_to_the_bit_from_any_step(loss, tmp_path):
    """Weights, averages, targets, the curve, the counted calls: of a run broken at two steps and of a whole one."""
    options = {"ema": [0.9, 0.99], "clip": 1.0, "schedule": "cosine"}
    whole = trainer(loss.name, loss=loss, **options)
    rows = [progress.row for progress in whole.run() if progress.row]
    found, state = [], None
    for stop in (3, 7, ITERATIONS):
        run = trainer(loss.name, loss=loss, **options)
        if state:
            run.restore(state)
        for progress in run.run():
            if progress.row:
                found.append(progress.row)
            if progress.step == stop:
                break
        folder = States(tmp_path, "same")
        assert folder.save(run.state())
        state = States(tmp_path, "same").newest()
    assert numbers(found) == numbers(rows)
    assert run.calls == whole.calls
    assert run.terms == whole.terms
    for name, tensor in networks(whole).items():
        assert torch.equal(tensor, networks(run)[name]), name


def test_power_function_averages_go_on_too(tmp_path):
    options = {"ema": [0.1], "ema_profile": "power"}
    whole, first, second = (trainer("lfmd", **options) for _ in range(3))
    for _ in whole.run():
        pass
    next(first.run())
    States(tmp_path, "").save(first.state())
    second.restore(States(tmp_path, "").newest())
    for _ in second.run():
        pass
    for name, tensor in networks(whole).items():
        assert torch.equal(tensor, networks(second)[name]), name


def example(step):
    return State(step, {"w": torch.arange(100.0) + step}, {"sums": {"loss": 1 / 3}})


def saved(folder, *steps):
    states = States(folder, "mine")
    for step in steps:
        assert states.save(example(step))
    return states


def test_two_are_kept_and_the_newest_is_found(tmp_path):
    states = saved(tmp_path, 9, 10, 1000)
    assert sorted(path.name for path in states.folder.iterdir()) == [
        *("step-000000010.json", "step-000000010.safetensors"),
        *("step-000001000.json", "step-000001000.safetensors"),
    ]
    found = states.newest()
    assert found.step == 1000
    assert found.numbers == example(1000).numbers
    assert torch.equal(found.tensors["w"], example(1000).tensors["w"])


def test_without_one_there_is_none(tmp_path):
    assert States(tmp_path / "missing", "mine").newest() is None


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("ending", ["json", "safetensors"])
@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_a_damaged_one_is_set_aside_and_the_one_before_serves(damage, ending, tmp_path, caplog):
    states = saved(tmp_path, 1, 2)
    damage(states.folder / f"step-000000002.{ending}")
    found = states.newest()
    assert found.step == 1
    assert "damaged" in caplog.text
    assert (states.folder / "damaged-step-000000002.json").is_file()
    # What is set aside is out of the way of later ones.
    saved(tmp_path, 2)
    assert states.newest().step == 2


def test_one_without_its_tensors_is_set_aside_too(tmp_path):
    states = saved(tmp_path, 1, 2)
    (states.folder / "step-000000002.safetensors").unlink()
    assert states.newest().step == 1
    assert (states.folder / "damaged-step-000000002.json").is_file()


@pytest.mark.parametrize("reads", ["Path.read_text", "sha256"])
def test_one_that_cannot_be_read_now_is_left_as_it_is(reads, tmp_path, monkeypatch):
    states = saved(tmp_path, 1, 2)

    def fail(*arguments, **more):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as disk:
        disk.setattr(f"ttfm.training.states.{reads}", fail)
        with pytest.raises(OSError, match=r"Input/output error; .*left as it is.*step-000000002\.json"):
            states.newest()
    assert states.newest().step == 2


def test_any_flipped_bit_of_the_numbers_is_found(tmp_path):
    path = saved(tmp_path, 2).folder / "step-000000002.json"
    content = path.read_bytes()
    for index in range(0, len(content), 11):
        saved(tmp_path, 1, 2)
        changed = content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :]
        path.write_bytes(changed)
        # White space between entries carries nothing.
        same = len(content[index : index + 1].strip()) == 0 and len(changed[index : index + 1].strip()) == 0
        assert States(tmp_path, "mine").newest().step == (2 if same else 1), index


def test_tensors_whose_numbers_were_not_written_yet_are_no_state(tmp_path):
    states = saved(tmp_path, 1, 2)
    (states.folder / "step-000000002.json").unlink()
    assert states.newest().step == 1
    assert not (states.folder / "step-000000002.safetensors").exists()


def test_one_of_another_training_is_refused_and_kept_until_this_one_ends(tmp_path, caplog):
    mine, other = saved(tmp_path, 5), States(tmp_path, "other")
    assert other.newest() is None
    assert "another configuration" in caplog.text
    assert mine.newest().step == 5
    assert other.save(example(3))
    other.settle()
    assert [path.name for path in sorted(tmp_path.glob("*/*"))] == ["step-000000003.json", "step-000000003.safetensors"]
    remove(files_of(tmp_path))
    assert not tmp_path.exists()


def test_clearing_removes_all_but_what_was_set_aside(tmp_path):
    states = saved(tmp_path / "a", 1, 2)
    (states.folder / ".step-000000003.xyz.safetensors").touch()
    # What safetensors itself leaves where it dies.
    (states.folder / ".tmp4UysMQ").touch()
    (states.folder / "step-000000003.safetensors").touch()
    remove(files_of(tmp_path / "a"))
    assert not (tmp_path / "a").exists()
    states = saved(tmp_path / "b", 1, 2)
    empty(states.folder / "step-000000002.json")
    states.newest()
    remove(files_of(states.root))
    assert [path.name for path in sorted(states.folder.iterdir())] == [
        "damaged-step-000000002.json",
        "damaged-step-000000002.safetensors",
    ]


def test_what_a_dying_process_had_begun_to_write_is_swept(tmp_path):
    states = saved(tmp_path, 1)
    for name in (".step-000000002.xyz.safetensors", ".tmp4UysMQ", "step-000000002.safetensors"):
        (states.folder / name).touch()
    assert states.newest().step == 1
    assert [path.name for path in sorted(states.folder.iterdir())] == [
        "step-000000001.json",
        "step-000000001.safetensors",
    ]


def test_a_place_where_nothing_can_be_written_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    assert not States(tmp_path / "file" / "state", "mine").save(example(1))
    assert "could not be saved" in caplog.text
