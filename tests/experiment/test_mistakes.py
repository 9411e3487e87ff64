"""What an experiment may not say, and the message that it then gets."""

import copy
import re

import pytest
import yaml

from tests.experiment.common import images_problem, put, resolved
from tests.registry import with_registry
from ttfm.experiment import ExperimentError
from ttfm.located import located
from ttfm.planning import plan

BAD = [
    ("students/itvm/loss", "itmv", "students.itvm.loss: 'itmv' is unknown; one of '"),
    ("students/itvm/options", {"mu": 1.5}, "students.itvm.options.mu: 1.5 is not allowed; it must be less than 1"),
    ("students/itvm/options", {"muu": 0.5}, "unknown key ('muu' was unexpected); known keys: terminal_target"),
    ("students/itvm/options", {"mu": "fast"}, "students.itvm.options.mu: 'fast' has the wrong type"),
    ("students/itvm/options", {"student_form": "ratio"}, "'ratio' is not allowed; one of 'quotient', 'average'"),
    (
        "students/itvm/training",
        {"iterations": 0},
        "students.itvm.training.iterations: 0 is not allowed; it must be at l",
    ),
    ("students/itvm/colour", "red", "students.itvm: unknown key ('colour' was unexpected)"),
    ("problems/ring/data/name", "rings", "problems.ring.data.name: 'rings' is unknown; one of 'celeba', "),
    ("problems/ring/data/std", -1.0, "problems.ring.data.std: -1.0 is not allowed; it must be greater than 0"),
    ("problems/ring/network/name", "cnn", "problems.ring.network.name: 'cnn' is unknown"),
    ("problems/ring/network", {"name": "unet"}, "problems.ring.network.name: 'unet' is for images, and 'ring' is not"),
    (
        "problems/ring/data",
        {"name": "checkerboard", "cells": 3},
        "cells: 3 is not allowed; it must be a multiple of 2",
    ),
    ("problems/ring/training/lr", float("nan"), "problems.ring.training.lr: nan is not allowed; it must be a finite"),
    ("problems/digits/evaluation/samples", 64, "64 is not allowed; a Fréchet distance needs at least 128"),
    ("problems/ring/network/width", 2.5, "problems.ring.network.width: 2.5 has the wrong type"),
    ("problems/ring/training/lr", 0.0, "problems.ring.training.lr: 0.0 is not allowed; it must be greater than 0"),
    ("problems/ring/evaluation/samples", 0, "problems.ring.evaluation.samples: 0 is not allowed; it must be at least"),
    ("problems/ring/evaluation/headline", "fid", "problems.ring.evaluation.headline: 'fid' is unknown"),
    ("problems/digits/evaluation/metrics", ["fld"], "problems.digits.evaluation.metrics: 'fld' is unknown; one of"),
    ("problems/digits/evaluation/metrics", ["fid"], "samples: 256 is not allowed; 'fid' needs at least 4,096"),
    (
        "problems/digits/evaluation/metrics",
        ["fd-cifar-resnet56"],
        "'fd-cifar-resnet56' takes images of 32 x 32 pixels only",
    ),
    ("problems/ring/evaluation/metrics", ["l2"], "ring.evaluation.metrics: these are for images; leave it out"),
    ("problems/digits/evaluation/headline", "fid", "evaluation.headline: 'fid' is unknown; one of"),
    ("problems/digits/evaluation/samples", 5000, "5000 is more than the 898 test samples there are"),
    ("problems/ring/students", {"lfmd": {}}, "problems.ring.students.lfmd: 'lfmd' is unknown; one of 'cd', 'itvm'"),
    ("problems/ring/students", {"itvm": {"options": {"mu": 2}}}, "problems.ring.students.itvm.options.mu: 2 is not"),
    ("seeds", [0.0], "seeds.0: 0.0 has the wrong type; it must be of type integer"),
    ("problems/ring/training/iterations", 1e2, "iterations: 100.0 has the wrong type; it must be of type integer"),
    ("name", "published", "name: 'published' is taken; choose another"),
    ("name", "tiny\n", "name: 'tiny\\n' is not allowed; lower-case letters"),
    ("seeds", [0, -1], "seeds.1: -1 is not allowed; it must be at least 0"),
    ("seeds", [0, 0], "seeds: [0, 0] has non-unique elements"),
    ("budgets", [0], "budgets.0: 0 is not allowed; it must be at least 1"),
    ("budgets", "four", "budgets: 'four' has the wrong type; it must be of type array"),
    ("name", "../elsewhere", "name: '../elsewhere' is not allowed; lower-case letters"),
    ("name", "a; rm -rf b", "name: 'a; rm -rf b' is not allowed; lower-case letters"),
    ("gpu_share", 0, "gpu_share: 0 is not allowed; it must be at least 1"),
    ("seeds_together", 0, "seeds_together: 0 is not allowed; it must be at least 1"),
    (
        "problems/logs",
        {"title": "L", "data": {"name": "ring"}, "network": {"name": "mlp"}, "training": {"iterations": 1}},
        "problems.logs: this name is taken",
    ),
    ("extra", 1, "unknown key ('extra' was unexpected); known keys: name, title"),
    (
        "problems/ring/training/ema",
        [0.9, 1.5],
        "ema: [0.9, 1.5] is not allowed; it must be of type number at least 0 less than 1 or a list, each entry",
    ),
    ("problems/ring/network/preset", "S", "problems.ring.network.preset: 'mlp' has no presets; leave it out"),
    ("problems/digits/network", {"name": "dit", "preset": "XL"}, "network.preset: 'XL' is unknown; one of 'B', 'L'"),
    ("problems/digits/network", {"name": "dit", "preset": "S", "hads": 2}, "unknown key ('hads' was unexpected)"),
    ("problems/digits/teacher", {"weights": "nowhere"}, "problems.digits.teacher.weights: 'nowhere' is no file"),
    ("problems/digits/teacher", {"weights": 3}, "problems.digits.teacher.weights: 3 is no file; it must be a path"),
    ("problems/digits/teacher", {"adapter": "a.py"}, "teacher.adapter: it reads the file that problems.digits.teacher"),
    ("problems/ring/teacher", {"weights": "w"}, "the velocity of this data is known in closed form; leave weights out"),
    ("students/teacher", {"loss": "cd"}, "students.teacher: this name is taken"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD, ids=[f"{p}={v}" for p, v, _ in BAD])
def test_a_mistake_is_named_with_key_value_and_what_is_allowed(tiny, path, value, message):
    put(tiny, path, value)
    with pytest.raises(ExperimentError) as error:
        resolved(tiny)
    assert "tiny.yaml cannot be run" in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["$(touch x)", "a;b", "a b", "`x`", "../x", "<b>", "a\nb", "{x}", "'", '"', "-x", ""])
@pytest.mark.parametrize("part", ["students", "problems"])
def test_names_that_a_shell_or_a_page_could_take_for_more_are_refused(tiny, part, name):
    """They become parts of paths and of command lines."""
    tiny[part][name] = copy.deepcopy(next(iter(tiny[part].values())))
    with pytest.raises(ExperimentError, match="is not allowed"):
        resolved(tiny)


def test_all_mistakes_are_reported_at_once(tiny):
    put(tiny, "students/itvm/loss", "itmv")
    put(tiny, "problems/ring/network/width", 0)
    with pytest.raises(ExperimentError) as error:
        resolved(tiny)
    assert "students.itvm.loss" in str(error.value)
    assert "problems.ring.network.width" in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "folder"}, "problems.pictures.data: 'path' is a required property"),
        (
            {"name": "folder", "path": "mine", "channels": 2},
            "problems.pictures.data.channels: 2 is not allowed; one of",
        ),
        (
            {"name": "folder", "path": "mine", "test_share": 1},
            "data.test_share: 1 is not allowed; it must be less than 1",
        ),
        ({"name": "celeba", "size": 200}, "problems.pictures.data.size: 200 is not allowed; it must be at most 140"),
        ({"name": "cifar10", "limit": 100}, "reference: data.limit keeps 100 images; 'fd-cifar-resnet56' needs 128"),
        ({"name": "mnist"}, "samples: 256 is not allowed; a Fréchet distance needs at least 1,536"),
        ({"name": "cifar10", "flips": 1}, "problems.pictures.data.flips: 1 has the wrong type"),
    ],
)
def test_mistakes_in_sets_of_images_are_named(tiny, data, message):
    with pytest.raises(ExperimentError) as error:
        resolved(images_problem(tiny, **data))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": {"name": "unet"}}, "guidance: the teacher needs labels; set network.classes"),
        ({"teacher": {}}, "guidance: the teacher must learn without labels too; set teacher.label_dropout"),
        ({"guidance": {"scale": 2, "interval": [0.5, 0.5]}}, "guidance.interval: [0.5, 0.5] is not allowed"),
        ({"guidance": {"scale": 2, "schedule": "linear"}}, "'linear' is not allowed; one of 'constant', 'raag'"),
        ({}, "guidance: meanflow would learn from data, which guidance does not reach"),
    ],
)
def test_guidance_needs_a_teacher_that_knows_both(tiny, change, message):
    problem = tiny["problems"]["digits"]
    problem |= {"network": {"name": "unet", "classes": 10}, "teacher": {"label_dropout": 0.1}, "guidance": {"scale": 2}}
    problem |= change
    with pytest.raises(ExperimentError, match=re.escape(message)):
        resolved(tiny)


def test_a_teachers_file_whose_name_is_a_pattern_to_snakemake_is_refused(tiny, tmp_path):
    path = tmp_path / "{problem}.safetensors"
    path.touch()
    tiny["problems"]["digits"]["teacher"] = {"weights": str(path)}
    with pytest.raises(ExperimentError, match=r"problems\.digits\.teacher\.weights: .* takes braces in a file's name"):
        resolved(tiny)


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ({"itvm": "nobody"}, "students.itvm.start: 'nobody' is unknown; one of 'cd', 'itvm', 'meanflow'"),
        ({"itvm": "itvm"}, "students.itvm.start: 'itvm' starts from 'itvm' in turn"),
        ({"itvm": "cd", "cd": "itvm"}, "students.cd.start: 'itvm' starts from 'cd' in turn"),
    ],
)
def test_a_chain_of_starts_must_end(tiny, starts, message):
    for label, start in starts.items():
        tiny["students"][label]["start"] = start
    with pytest.raises(ExperimentError) as error:
        resolved(tiny)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("problem", "asked", "message"),
    [
        ("digits", {"name": "itvm"}, "problems.digits.teacher_loss.name: 'itvm' cannot train a teacher"),
        ("digits", {"name": "fmm"}, "problems.digits.teacher_loss.name: 'fmm' is unknown"),
        ("digits", {"name": "fm", "speed": 1}, "problems.digits.teacher_loss: unknown key ('speed' was unexpected)"),
        ("ring", {"name": "velocity_regression"}, "problems.ring.teacher_loss: the velocity of 'ring' is known"),
    ],
)
def test_a_teacher_learns_a_velocity_from_data(tiny, problem, asked, message):
    tiny["problems"][problem]["teacher_loss"] = asked
    with pytest.raises(ExperimentError) as error:
        resolved(tiny)
    assert message in str(error.value)


def test_a_missing_solver_is_named_and_its_tolerances_reach_the_solution(tiny, monkeypatch):
    put(tiny, "problems/digits/evaluation/solver", "dopri5")
    monkeypatch.setattr("ttfm.problem_checks.find_spec", lambda name: None)
    with pytest.raises(ExperimentError, match=r"solver: 'dopri5' needs torchdiffeq, .* pip install -e '\.\[dopri5\]'"):
        resolved(copy.deepcopy(tiny))
    monkeypatch.setattr("ttfm.problem_checks.find_spec", lambda name: name)
    asked = resolved(tiny).configs["digits/solution.json"]["evaluation"]
    assert asked["solver"] == "dopri5" and asked["rtol"] == asked["atol"] == 1e-5 and "steps" not in asked


def refused(config, tmp_path):
    with pytest.raises(ExperimentError) as error:
        plan(config, "tiny.yaml", with_registry(tmp_path))
    return str(error.value)


def test_what_no_schema_can_say_is_found_before_any_job(tiny, tmp_path):
    tiny["students"]["boss"] = {"loss": "boss", "options": {"steps": 40}}
    assert "students.boss (on ring): it needs 40 stored intervals, and trajectories.kept stores 16" in refused(
        copy.deepcopy(tiny), tmp_path
    )
    tiny["students"].pop("boss")
    tiny["students"]["itvm"]["training"] = {"snapshots": [5, 999]}
    message = refused(copy.deepcopy(tiny), tmp_path)
    assert "students.itvm.training (on ring): snapshots: 999 is after the last of 20 iterations" in message
    tiny["students"]["itvm"]["training"] = {}
    tiny["problems"]["ring"]["data"] = {"name": "checkerboard", "cells": 6}
    put(tiny, "problems/ring/evaluation/histogram_samples", 1000)
    message = refused(tiny, tmp_path)
    assert "problems.ring.evaluation.histogram_samples: cells: a grid of 128 x 128 is no refinement of 6 x 6" in message


@pytest.mark.parametrize(
    ("loss", "budget", "message"),
    [
        ("reflow_distill", 3, "3 steps: options.k: 8 times are trained and 3 steps ask for others"),
        ("shortcut", 6, "6 steps: steps of length 1/6 are never trained: give powers of two up to 2^finest = 128"),
    ],
)
def test_numbers_of_steps_that_a_loss_never_trains_are_refused(loss, budget, message, tiny, tmp_path):
    tiny["students"] |= {"few": {"loss": loss}}
    tiny["budgets"] = [1, 2, 4]
    plan(copy.deepcopy(tiny), "tiny.yaml", with_registry(tmp_path))
    tiny["budgets"] = [1, 2, budget]
    assert f"students.few (on ring): {message}" in refused(tiny, tmp_path)


def test_nothing_starts_from_more_than_a_network_and_nothing_wrapped_teaches(tiny, tmp_path):
    tiny["students"] |= {"dtm": {"loss": "dtm"}, "after": {"loss": "itvm", "start": "dtm"}}
    assert "students.after.start: 'dtm' trains more than the problem's network" in refused(
        copy.deepcopy(tiny), tmp_path
    )
    tiny["students"]["after"].pop("start")
    for name in ("blockwise", "mle"):
        put(tiny, "problems/digits/teacher_loss", {"name": name})
        assert f"problems.digits.teacher_loss.name: '{name}' cannot train a teacher" in refused(
            copy.deepcopy(tiny), tmp_path
        )


def test_a_mistake_is_named_with_the_line_of_its_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nstudents:\n  itvm: {loss: itvm}\n  other:\n    loss: nope\nseeds: [0,\n  -1]\n")
    faults = [
        "students.other.loss: 'nope' is unknown",
        "students.itvm (on ring): no",
        "seeds.1: -1 is not allowed",
        "students.other.options.mu: it stands in a key that is not written out",
        "title: it is missing",
        "students.other: unknown key ('loss' was unexpected)",
        "experiment: unknown key ('seeds' was unexpected)",
    ]
    assert located(str(path), faults) == [
        f"line 5: {faults[0]}",
        f"line 3: {faults[1]}",
        f"line 7: {faults[2]}",
        f"line 4: {faults[3]}",
        faults[4],
        f"line 5: {faults[5]}",
        f"line 6: {faults[6]}",
    ]
    second = tmp_path / "more.yaml"
    second.write_text("seeds: [0, -1]\n")
    found = located(f"{path}, {second}", [faults[0], faults[2]])
    assert found == [f"{path}, line 5: {faults[0]}", f"{second}, line 1: {faults[2]}"]
    assert located("nowhere.yaml", faults) == faults
    second.write_text("{")
    assert located(str(second), faults) == faults


def test_the_message_of_a_plan_names_lines(tiny, tmp_path):
    put(tiny, "students/itvm/loss", "itmv")
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(tiny, sort_keys=False))
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if "itmv" in text)
    with pytest.raises(ExperimentError, match=rf"mine.yaml cannot be run:\n  line {line}: students.itvm.loss: 'itmv'"):
        plan(tiny, str(path), with_registry(tmp_path / "results"))
