"""Several trainings in one process, or one in several processes, keep what all of them can go on from."""

import argparse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier

import pytest
import torch

from tests.steps.test_keeping import CONFIG
from ttfm.exits import InterruptedTrainingError
from ttfm.steps.keeping import Keeper
from ttfm.training.states import State


@pytest.fixture
def seeds(tmp_path, monkeypatch):
    """The arguments of a keeper of two seeds that saves after every step."""
    monkeypatch.setattr("ttfm.steps.keeping.COST", 1e9)
    return [
        (argparse.Namespace(state=tmp_path / str(seed), save_every=1e-9), CONFIG | {"seed": seed}) for seed in (0, 1)
    ]


def test_seeds_go_on_from_what_was_saved_at_once(tmp_path):
    def keeper():
        found = [(argparse.Namespace(state=tmp_path / str(seed)), CONFIG | {"seed": seed}) for seed in (0, 1)]
        return Keeper(found, "cpu")

    def save(seed, steps, alone=False):
        assert keeper().states[seed].save(State(steps[seed], {"weight": torch.ones(1)}, {"alone": alone}))

    def steps():
        return [state and state.step for state in keeper().newest()]

    assert steps() == [None, None]
    save(0, [10, 10])
    # Killed before the second seed's first: alone it would end with other numbers. Nobody goes on from it.
    assert steps() == [None, None] and not list(tmp_path.glob("0/*/step-*"))
    save(0, [10, 10])
    save(1, [10, 10])
    assert steps() == [10, 10]
    save(0, [20, 20])
    assert steps() == [10, 10] and len(list(tmp_path.glob("0/*/step-*.json"))) == 1
    save(0, [20, 20])
    save(1, [20, 20])
    newest = next((tmp_path / "1").glob("*/step-000000020.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-1])
    assert steps() == [10, 10]
    # Since one of them failed they train one after another; this was not saved of the second.
    save(0, [15, 10], alone=True)
    assert steps() == [10, 10]
    save(0, [15, 10], alone=True)
    save(1, [15, 10], alone=True)
    assert steps() == [15, 10]
    save(0, [40, 10], alone=True)
    save(0, [50, 10], alone=True)
    assert steps() == [50, 10]


def test_a_save_of_one_seed_alone_costs_no_earlier_one(seeds, monkeypatch):
    keeper = Keeper(seeds, "cpu")

    def at(step):
        return lambda: [State(step, {"weight": torch.ones(1)}, {"alone": False}) for _ in seeds]

    for step in (10, 20):
        for states, state in zip(keeper.states, at(step)(), strict=True):
            states.save(state)
    with monkeypatch.context() as full:
        full.setattr(keeper.states[1], "save", lambda state, prune: False)
        keeper.keep(at(30))
    assert [[path.stem[-2:] for path in sorted(s.folder.glob("*.json"))] for s in keeper.states] == [["10", "20"]] * 2
    keeper.keep(at(40))
    assert [[path.stem[-2:] for path in sorted(s.folder.glob("*.json"))] for s in keeper.states] == [["40"]] * 2


def kept(states):
    return [int(path.stem[-4:]) for path in sorted(states.folder.glob("step-*.json"))]


def test_a_seed_that_has_ended_is_saved_once_and_survives_a_save_that_fails(seeds, monkeypatch):
    """One after another: the first is at its end while the second trains."""

    def at(*steps):
        return lambda: [State(step, {"weight": torch.ones(1)}, {"alone": True, "status": "ok"}) for step in steps]

    keeper = Keeper(seeds, "cpu")
    keeper.after_step(at(1500, 10))
    (first,) = keeper.states[0].folder.glob("*.json")
    written = first.stat().st_mtime_ns
    keeper.after_step(at(1500, 20))
    assert first.stat().st_mtime_ns == written
    # What goes on from there knows what there is, too.
    for going_on in (False, True):
        if going_on:
            keeper = Keeper(seeds, "cpu")
            assert [state.step for state in keeper.newest()] == [1500, 20]
        with monkeypatch.context() as full:
            full.setattr(keeper.states[1], "save", lambda state, prune: False)
            keeper.after_step(at(1500, 30))
        assert [kept(states) for states in keeper.states] == [[1500], [10, 20]]
    keeper.after_step(at(1500, 40))
    assert [state.step for state in Keeper(seeds, "cpu").newest()] == [1500, 40]


def test_seeds_that_part_keep_what_they_had_together_when_that_cannot_be_saved(seeds, monkeypatch):
    keeper = Keeper(seeds, "cpu")
    at = lambda steps, alone: [State(step, {"weight": torch.ones(1)}, {"alone": alone}) for step in steps]  # noqa: E731
    keeper.after_step(lambda: at((10, 10), False))
    with monkeypatch.context() as full:
        full.setattr(keeper.states[0], "save", lambda state, prune: False)
        keeper.after_step(lambda: at((15, 10), True))
    assert [kept(states) for states in keeper.states] == [[10], [10]]
    assert [state.step for state in Keeper(seeds, "cpu").newest()] == [10, 10]


@dataclass
class Thread:
    """A rank that is a thread: what only one of them takes part in is an error, where processes would hang."""

    rank: int
    barrier: Barrier
    said: list
    count: int = 2

    def any(self, flags, device):
        self.said[self.rank] = flags
        self.barrier.wait(timeout=20)
        found = [any(each) for each in zip(*self.said, strict=True)]
        self.barrier.wait(timeout=20)
        return found


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """The keepers of two ranks, a clock, and what takes ten steps of both and has what ended each."""
    clock, barrier, said = [0.0], Barrier(2), [[], []]
    monkeypatch.setattr("ttfm.steps.keeping.time", argparse.Namespace(monotonic=lambda: clock[0]))
    asked = argparse.Namespace(state=tmp_path / "state", save_every=10.0, train_at_most=12.0)
    keepers = [Keeper([(asked, CONFIG)], "cpu", Thread(rank, barrier, said)) for rank in (0, 1)]
    taken = [0, 0]

    def ten(rank):
        try:
            for _ in range(10):
                taken[rank] += 1
                keepers[rank].after_step(lambda: [State(taken[rank], {"weight": torch.ones(1)}, {})])
        except InterruptedTrainingError as error:
            return str(error)
        return ""

    def steps():
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(ten, (0, 1)))

    return keepers, clock, steps


def test_ranks_stop_together_when_the_disk_was_full_before(pair, monkeypatch):
    keepers, clock, steps = pair
    monkeypatch.setattr(keepers[0].states[0], "save", lambda state, prune: False)
    clock[0] = 11.0
    assert steps() == ["", ""]
    keepers[1]._signal = "SIGTERM"
    # They agree ten steps after the two that follow the clock's jump, of which the first seems slow.
    words = "after step 12; its state could not be saved"
    assert steps() == [f"stopped by another rank {words}", f"stopped by SIGTERM {words}"]


def test_ranks_go_on_together_past_the_time_limit_until_there_is_room(pair, monkeypatch):
    keepers, clock, steps = pair
    with monkeypatch.context() as full:
        full.setattr(keepers[0].states[0], "save", lambda state, prune: False)
        clock[0] = 11.0
        assert steps() == ["", ""]
    clock[0] = 13.0
    assert steps() == ["", ""]
    clock[0] = 22.0
    for told in steps():
        assert told.startswith("stopped by the time limit after step 23; the state is kept in ")
