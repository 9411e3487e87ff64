"""The benchmark suite's own logic; what it measures is no test's business."""

import importlib.util
import re
from collections import Counter
from functools import partial

import pytest
import torch

from tests.bench import overhead
from tests.bench.__main__ import PUBLISHED, parse, table
from tests.bench.bill import forwards
from tests.bench.passes import EVERY_KIND, KINDS, Passage, Prices, samples
from tests.bench.scenes import Scene
from tests.bench.starts import IMPORTS
from ttfm.losses import load_modules
from ttfm.losses.alphaflow import AlphaFlow
from ttfm.losses.itvm import ITVM
from ttfm.losses.pfmm import PFMM
from ttfm.networks.dit import DiT
from ttfm.networks.mlp import MLP
from ttfm.networks.unet import UNet

SCENE = Scene(partial(MLP, width=8, depth=2), (2,), 16)
IMAGES = {
    "unet": partial(UNet, channels=8, multipliers=[1], patch=2),
    "dit": partial(DiT, width=8, depth=2, heads=2),
}


def in_batches(loss, scene=SCENE, steps=20, warm=4, repeat=1):
    """The passes of each round of a training that is gone through, in units of the batch."""
    passage = Passage(scene.trainer(loss, "cpu", steps), warm)
    for _ in range(warm + steps):
        passage()
    each = [dict(zip(EVERY_KIND, samples(found), strict=True)) for found in passage.rounds(repeat)]
    return [{kind: count / scene.batch / repeat for kind, count in found.items()} for found in each]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--part", "steps", "--only", "itvm"], f"the whole in {PUBLISHED}; give another --out"),
        (["--only", "itvm", "--out", f"{PUBLISHED}/../bench"], "give another --out"),
        (["--part", "steps", "--against", "HEAD"], "give --part overhead"),
        (["--part", "overhead", "--against", "no-such-commit"], "'no-such-commit' is no commit"),
    ],
)
def test_options_that_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        parse(arguments)
    assert message in capsys.readouterr().err


def test_a_part_of_a_table_goes_elsewhere_and_a_commit_is_known_by_its_full_name(tmp_path):
    assert parse(["--only", "itvm", "--out", str(tmp_path)]).only == "itvm"
    assert re.fullmatch("[0-9a-f]{40}", parse(["--part", "overhead", "--against", "HEAD"]).against)


def test_tables_say_yes_no_and_nothing():
    about = {"title": "T", "device": "cpu", "threads": 1, "commit": "c" * 40, "dirty": False}
    about |= {"versions": {"torch": "2"}, "started": "2026-01-01T00:00", "load before": 0.0}
    text = table(about | {"rows": [{"loss": "fm", "within": True}, {"loss": "cd", "within": False, "over": None}]})
    assert "| fm | yes |  |" in text
    assert "| cd | no |  |" in text


def test_the_steps_that_count_go_through_the_whole_curriculum():
    rounds = in_batches(AlphaFlow())
    first, last = rounds[0], rounds[-1]
    assert (first["forward"], first["jvp"]) == (1, 0)
    assert (last["forward"], last["jvp"]) == (1, 1)
    assert any(found["forward"] == 2 for found in rounds)
    assert len(rounds) == 20


def test_every_stage_counts_by_its_length():
    asked = [found["teacher"] for found in in_batches(PFMM(doublings=3))]
    assert asked == [2.0] * 5 + [0.0] * 15
    assert [found["teacher"] for found in in_batches(PFMM(doublings=3), repeat=10)] == [1.0, 0.0]


def test_passes_are_told_by_their_sizes():
    passage = Passage(SCENE.trainer(load_modules()["lsd"](), "cpu", 3), 1)
    for _ in range(4):
        passage()
    for found in passage.rounds(1):
        assert found == {(kind, 12): 1 for kind in KINDS[:2]} | {(kind, 4): 1 for kind in (KINDS[0], *KINDS[4:])}
        assert samples(found)[EVERY_KIND.index("forward")] == 16


def test_passes_are_priced_at_their_sizes():
    prices = Prices({"forward": {2: 3.0, 4: 4.0, 8: 7.0}})
    assert [prices.of("forward", size) for size in (1, 2, 3, 6, 8, 16)] == [3.0, 3.0, 3.5, 5.5, 7.0, 14.0]
    assert prices.total(Counter({("forward", 3): 2, ("forward", 8): 1, ("exact", 8): 5})) == 14.0


@pytest.mark.parametrize("name", load_modules())
def test_every_loss_can_be_gone_through(name):
    rounds = in_batches(load_modules()[name](), warm=3)
    assert all(sum(found.values()) >= 1 for found in rounds)


@pytest.mark.parametrize("network", IMAGES)
@pytest.mark.parametrize("name", load_modules())
def test_every_loss_trains_every_network_of_images(name, network):
    rounds = in_batches(load_modules()[name](), Scene(IMAGES[network], (1, 8, 8), 4), steps=1, warm=1)
    assert all(sum(found.values()) >= 1 for found in rounds)


def test_what_is_asked_to_be_exact_is_told_apart_where_precision_is_low():
    low = Scene(SCENE.build, SCENE.shape, SCENE.batch, "bfloat16")
    (found,) = {tuple(found.items()) for found in in_batches(ITVM(), low, steps=2)}
    expected = {"forward": 1, "exact": 2.5, "exact-backward": 2.5, "teacher": 2.5}
    assert dict(found) == dict.fromkeys(EVERY_KIND, 0) | expected
    (found,) = {tuple(found.items()) for found in in_batches(ITVM(), steps=2)}
    assert dict(found) == dict.fromkeys(EVERY_KIND, 0) | {"forward": 3.5, "forward-backward": 2.5, "teacher": 2.5}


def test_the_teacher_has_the_precision_of_the_scene():
    low = Scene(SCENE.build, SCENE.shape, SCENE.batch, "bfloat16")
    t, x = torch.rand(16), torch.randn(16, 2)
    values = [scene.trainer(ITVM(), "cpu", 1).teacher(t, x) for scene in (SCENE, low)]
    assert values[0].dtype == values[1].dtype == torch.float32
    assert not torch.equal(*values)


def test_seeds_of_a_scene_have_other_batches_and_the_same_weights():
    trainers = [SCENE.trainer(ITVM(), "cpu", 1, seed) for seed in range(2)]
    first, second = (trainer.batch(0, torch.device("cpu")) for trainer in trainers)
    assert not torch.equal(first.x0, second.x0)
    weights = [next(trainer.network.parameters()) for trainer in trainers]
    assert torch.equal(*weights)


def test_a_guided_teacher_is_billed_twice():
    config = {"loss": {"name": "itvm", "options": {}}}
    # One pass of the target, 2.5 with their way back, and 2.5 by the teacher.
    assert sum(forwards(config)) == pytest.approx(1 + 2.5 * 3 + 2.5)
    assert sum(forwards(config | {"guidance": {"scale": 1.5}})) == pytest.approx(1 + 2.5 * 3 + 2.5 * 2)


def test_derivatives_are_billed_in_full_precision():
    low, full = forwards({"loss": {"name": "lfmd", "options": {}}})
    # One derivative with its way back, and one question to the teacher.
    assert (low, full) == pytest.approx((1, 2 + 4))


def test_another_commit_runs_between_two_runs_of_the_code_here(monkeypatch):
    ran = []

    def wall_seconds(folder, name):
        ran.append(folder.name)
        return {"here": 4.0, "there": 10.0, "again": 6.0}[folder.name]

    monkeypatch.setattr(overhead, "checkout", lambda path, described: path)
    monkeypatch.setattr(overhead, "archived", lambda commit, path: path)
    monkeypatch.setattr(overhead, "wall_seconds", wall_seconds)
    monkeypatch.setattr(overhead, "_shares", lambda results, whole: [{"part": "all jobs"}])
    rows = overhead.measure("cpu", "tiny", against="0123456789abcdef")
    assert ran == ["here", "there", "again"]
    assert [row.get("wall seconds") for row in rows] == [None, 4.0, 10.0, 6.0, None]
    assert rows[-1]["ratio of wall seconds"] == 0.5
    assert "second, code of 0123456789ab" in rows[2]["part"]


@pytest.mark.parametrize("step", IMPORTS)
def test_what_a_step_is_said_to_import_exists(step):
    for name in IMPORTS[step].split(", "):
        assert importlib.util.find_spec(name), name
