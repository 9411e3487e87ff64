"""What an experiment may say, what it may not, and what a plan makes of it."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from ttfm.experiment import ExperimentError, read_schema
from ttfm.planning import SCHEMA, plan, registry_description
from ttfm.registry import describe
from ttfm.resolve import resolve

EXPERIMENTS = sorted(Path("workflow/experiments").glob("*.yaml"))
REGISTRY = describe()
SCHEMA_VALUE = read_schema(SCHEMA)


@pytest.fixture
def tiny():
    return yaml.safe_load(Path("workflow/experiments/tiny.yaml").read_text())


def resolved(config):
    return resolve(config, REGISTRY, SCHEMA_VALUE, "tiny.yaml")


def put(config, path, value):
    *parents, last = path.split("/")
    for parent in parents:
        config = config[parent]
    config[last] = value


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


def images_problem(tiny, **data):
    """The tiny experiment with its digits replaced by another set of images."""
    problem = tiny["problems"].pop("digits")
    tiny["problems"]["pictures"] = problem | {"data": data}
    return tiny


def test_a_problem_of_cifar10_plans_with_its_shape_and_without_the_digits_metrics(tiny, tmp_path):
    found = plan(images_problem(tiny, name="cifar10", limit=1000), "tiny.yaml", tmp_path)
    card = found.experiment["problems"]["pictures"]
    assert card["shape"] == [3, 32, 32]
    assert card["headline"] == "fd-cifar-resnet56" and not {"fd-digits", "kid-digits"} & set(card["metrics"])
    assert "pictures/classifier.json" not in found.configs
    # Flips happen while training: they decide the runs and not the arrays.
    assert found.configs["pictures/images.json"]["data"] == {"name": "cifar10", "limit": 1000}
    assert found.configs["pictures/teacher.json"]["data"] == {"name": "cifar10", "flips": True, "limit": 1000}
    assert found.configs["pictures/teacher.json"]["shape"] == [3, 32, 32]


def test_the_shape_of_a_folder_is_that_of_its_options(tiny):
    tiny["problems"]["digits"]["evaluation"]["samples"] = 1536
    found = resolved(images_problem(tiny, name="folder", path="mine", size=16, channels=1))
    assert found.configs["pictures/solution.json"]["shape"] == [1, 16, 16]
    assert found.experiment["problems"]["pictures"]["shape"] == [1, 16, 16]
    assert found.configs["pictures/images.json"]["assets"] is None


def test_digits_keep_their_classifier_and_metrics(tiny):
    found = resolved(tiny)
    assert "digits/classifier.json" in found.configs and "ring/images.json" not in found.configs
    card = found.experiment["problems"]["digits"]
    assert card["headline"] == "fd-digits" and card["metrics"][:2] == ["fd-digits", "kid-digits"]


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


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_that_ships_is_valid_and_says_how_to_run_it(path):
    text = path.read_text()
    plan = resolved(yaml.safe_load(text))
    assert plan.runs
    assert all(word in text for word in ("# What it shows:", "# Command:", "# Machine:", "# What comes:"))


def test_every_distillation_loss_trains_alike_and_one_from_scratch_gets_the_teachers_iterations_on_top(tiny):
    put(tiny, "problems/ring/teacher", {"iterations": 300})
    configs = resolved(tiny).configs
    runs = {label: configs[f"ring/{label}/0/student.json"] for label in ("itvm", "cd", "meanflow")}
    assert runs["itvm"]["training"] == runs["cd"]["training"]
    assert runs["itvm"]["start"] == runs["cd"]["start"] == "teacher"
    assert runs["meanflow"]["start"] == "random"
    assert runs["meanflow"]["training"]["iterations"] == runs["itvm"]["training"]["iterations"] + 300
    assert runs["itvm"]["loss"]["options"]["mu"] == 0.9


def test_a_loss_that_asks_no_teacher_can_still_start_from_its_weights(tiny):
    put(tiny, "students/ect", {"loss": "ect"})
    plan = resolved(tiny)
    runs = {label: plan.configs[f"ring/{label}/0/student.json"] for label in ("ect", "itvm")}
    assert runs["ect"]["start"] == "teacher"
    assert runs["ect"]["training"] == runs["itvm"]["training"]
    card = plan.experiment["students"]["ect"]
    assert card["starts_from_teacher"] and not card["needs_teacher"]


def test_a_problem_can_override_a_students_options(tiny):
    put(tiny, "students/itvm/options", {"mu": 0.5, "eps": 0.25})
    put(tiny, "problems/ring/students", {"itvm": {"options": {"mu": 0.7}, "training": {"iterations": 33}}})
    configs = resolved(tiny).configs
    ring, digits = (configs[f"{problem}/itvm/0/student.json"] for problem in ("ring", "digits"))
    assert (ring["loss"]["options"]["mu"], ring["loss"]["options"]["eps"]) == (0.7, 0.25)
    assert ring["training"]["iterations"] == 33
    assert digits["loss"]["options"]["mu"] == 0.5


def test_a_preset_is_resolved_into_full_options_and_those_beside_it_win(tiny):
    put(tiny, "problems/digits/network", {"name": "dit", "preset": "S", "patch": 4, "heads": 12})
    network = resolved(tiny).configs["digits/teacher.json"]["network"]
    assert "preset" not in network
    assert {"width": 384, "depth": 12, "heads": 12, "patch": 4, "ratio": 4}.items() <= network.items()


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


def test_guidance_reaches_whoever_asks_the_teacher_and_not_its_training(tiny):
    problem = tiny["problems"]["digits"]
    problem |= {"network": {"name": "unet", "classes": 10}, "teacher": {"label_dropout": 0.1}, "guidance": {"scale": 2}}
    del tiny["students"]["meanflow"]
    configs = {path: c for path, c in resolved(tiny).configs.items() if path.startswith("digits/")}
    without = {path.split("/")[-1] for path, config in configs.items() if "guidance" not in config}
    measures = {"images.json", "classifier.json", "features.json", "reference.json", "score.json"}
    assert without == {"teacher.json", *measures}
    expected = {"scale": 2, "interval": [0.0, 1.0], "schedule": "constant", "alpha": 12.0}
    assert configs["digits/solution.json"]["guidance"] == expected
    assert "a step of its takes two" in resolved(tiny).experiment["notes"][0]


def test_an_imported_teachers_files_reach_its_config_alone(tiny):
    before = resolved(copy.deepcopy(tiny)).configs
    tiny["problems"]["digits"].setdefault("teacher", {})["weights"] = "pyproject.toml"
    after = resolved(tiny).configs
    assert {path for path in before if before[path] != after[path]} == {"digits/teacher.json"}
    put(tiny, "problems/digits/teacher/weights", str(Path("pyproject.toml").resolve()))
    cards = resolved(tiny).experiment["problems"]
    assert {name: card["imported"] for name, card in cards.items()} == {"digits": "pyproject.toml", "ring": None}
    assert after["digits/teacher.json"] == before["digits/teacher.json"] | {"import": {"weights": "pyproject.toml"}}


def test_a_missing_solver_is_named_and_its_tolerances_reach_the_solution(tiny, monkeypatch):
    put(tiny, "problems/digits/evaluation/solver", "dopri5")
    monkeypatch.setattr("ttfm.problem_checks.find_spec", lambda name: None)
    with pytest.raises(ExperimentError, match=r"solver: 'dopri5' needs torchdiffeq, .* pip install 'ttfm\[dopri5\]'"):
        resolved(copy.deepcopy(tiny))
    monkeypatch.setattr("ttfm.problem_checks.find_spec", lambda name: name)
    asked = resolved(tiny).configs["digits/solution.json"]["evaluation"]
    assert asked["solver"] == "dopri5" and asked["rtol"] == asked["atol"] == 1e-5 and "steps" not in asked


def test_low_precision_is_timed_as_it_is_trained(tiny):
    plain = resolved(copy.deepcopy(tiny)).configs["digits/timing.json"]
    put(tiny, "problems/digits/training/precision", "bfloat16")
    assert resolved(tiny).configs["digits/timing.json"] == plain | {"training": {"precision": "bfloat16"}}


def test_what_only_the_page_shows_reaches_no_run(tiny):
    before = resolved(copy.deepcopy(tiny)).configs
    put(tiny, "problems/ring/evaluation/headline", "mmd")
    assert resolved(tiny).configs == before


def test_training_images_are_looked_up_only_where_an_experiment_asks(tiny):
    plain = resolved(copy.deepcopy(tiny))
    assert "digits/neighbours.json" not in plain.configs and not plain.experiment["problems"]["digits"]["neighbours"]
    put(tiny, "problems/digits/evaluation/metrics", ["copied-train", "fd-digits"])
    found = resolved(tiny)
    asked = found.configs["digits/neighbours.json"]
    assert (asked["metrics"], asked["budgets"]) == (["copied-train"], [1, 2])
    card = found.experiment["problems"]["digits"]
    assert card["neighbours"] and card["headline"] == "fd-digits" and "copied-train" in card["metrics"]
    assert found.configs["digits/score.json"]["evaluation"]["metrics"] == ["fd-digits"]
    put(tiny, "problems/digits/evaluation/headline", "copied-train")
    with pytest.raises(ExperimentError, match="headline: 'copied-train' is unknown"):
        resolved(tiny)


def test_the_top_up_is_counted_in_samples(tiny):
    put(tiny, "problems/ring/teacher", {"iterations": 10, "batch": 64})
    configs = resolved(tiny).configs
    assert configs["ring/meanflow/0/student.json"]["training"]["iterations"] == 20 + 10 * 64 // 32


EXTRA = '''
from __future__ import annotations
from dataclasses import dataclass
from ttfm.losses import register
from ttfm.losses.lfmd import LFMD

@register
@dataclass(frozen=True)
class Doubled(LFMD):
    """LFMD, twice."""
    factor: float = 2.0
    name = "{name}"

    def terms(self, batch, student, target, teacher):
        return {{"doubled": self.factor * super().terms(batch, student, target, teacher)["lagrangian"]}}
'''


def test_a_loss_from_a_file_of_the_users_can_be_planned(tiny, tmp_path):
    (tmp_path / "mine.py").write_text(EXTRA.format(name="doubled"))
    put(tiny, "loss_modules", [str(tmp_path / "mine.py")])
    put(tiny, "students/doubled", {"loss": "doubled", "options": {"factor": 3.0}})
    configs = plan(tiny, "tiny.yaml", tmp_path / "results").configs
    student = configs["ring/doubled/0/student.json"]
    assert student["loss"]["options"]["factor"] == 3.0
    assert student["loss_modules"] == [str(tmp_path / "mine.py")]
    assert configs["ring/itvm/0/student.json"]["loss_modules"] == []


def test_a_users_loss_cannot_replace_one_of_ours(tiny, tmp_path):
    (tmp_path / "mine.py").write_text(EXTRA.format(name="itvm"))
    put(tiny, "loss_modules", [str(tmp_path / "mine.py")])
    with pytest.raises(ValueError, match="two losses are called 'itvm'"):
        plan(tiny, "tiny.yaml", tmp_path / "results")


def test_budgets_do_not_reach_training(tiny):
    before = resolved(copy.deepcopy(tiny)).configs
    put(tiny, "budgets", [1, 2, 16])
    after = resolved(tiny).configs
    changed = {path for path in before if before[path] != after[path]}
    assert changed
    assert all(path.endswith(("evaluate.json", "baselines.json")) for path in changed)


def test_a_plan_on_disk_leaves_unchanged_files_alone(tiny, tmp_path):
    plan(tiny, "tiny.yaml", tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert tmp_path / "tiny" / "plan" / "ring" / "itvm" / "0" / "student.json" in files
    put(tiny, "students/itvm/options", {"mu": 0.5})
    plan(tiny, "tiny.yaml", tmp_path)
    touched = {path.relative_to(tmp_path / "tiny") for path, time in files.items() if path.stat().st_mtime_ns != time}
    assert {str(path) for path in touched} == {
        "experiment.json",
        "plan/ring/itvm/0/student.json",
        "plan/ring/itvm/1/student.json",
        "plan/digits/itvm/0/student.json",
        "plan/digits/itvm/1/student.json",
        "plan/ring/timing.json",
        "plan/digits/timing.json",
    }


def test_the_cached_registry_is_the_registry(tmp_path):
    assert registry_description(tmp_path) == REGISTRY


def test_a_missing_loss_module_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"loss_modules: .*nowhere\.py does not exist"):
        registry_description(tmp_path, ("nowhere.py",))


def test_a_student_can_start_from_another_and_then_gets_no_extra_iterations(tiny):
    tiny["students"]["second"] = {"loss": "meanflow", "start": "itvm"}
    plan = resolved(tiny)
    run = plan.configs["ring/second/1/student.json"]
    assert run["start"] == "itvm"
    assert run["training"]["iterations"] == 20
    assert plan.experiment["students"]["second"]["start"] == "itvm"


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


def test_the_baseline_is_the_one_asked_for_or_lfmd_or_the_first(tiny):
    assert resolved(copy.deepcopy(tiny)).experiment["baseline"] == "itvm"
    tiny["students"]["ours"] = {"loss": "lfmd"}
    assert resolved(copy.deepcopy(tiny)).experiment["baseline"] == "ours"
    tiny["baseline"] = "cd"
    assert resolved(copy.deepcopy(tiny)).experiment["baseline"] == "cd"
    tiny["baseline"] = "nobody"
    with pytest.raises(ExperimentError, match="baseline: 'nobody' is unknown"):
        resolved(tiny)


def test_the_files_of_a_loss_are_its_own_and_those_it_builds_on():
    files = resolve(
        yaml.safe_load(Path("workflow/experiments/tiny.yaml").read_text()), REGISTRY, SCHEMA_VALUE
    ).loss_files
    assert files["itvm"] == ["ttfm/losses/itvm.py"]
    assert files["meanflow_distill"] == ["ttfm/losses/meanflow.py", "ttfm/losses/dispersive.py"]


def refused(config, tmp_path):
    with pytest.raises(ExperimentError) as error:
        plan(config, "tiny.yaml", tmp_path)
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


@pytest.mark.parametrize("headline", ["straightness", "semigroup_defect", "kl_histogram"])
def test_a_headline_is_ranked_at_every_budget_and_measured(tiny, headline):
    put(tiny, "problems/ring/evaluation/headline", headline)
    with pytest.raises(ExperimentError, match=f"problems.ring.evaluation.headline: '{headline}' is unknown"):
        resolved(tiny)


def test_students_snapshots_do_not_reach_their_teacher(tiny):
    before = resolved(copy.deepcopy(tiny)).configs["ring/teacher.json"]
    put(tiny, "problems/ring/training/snapshots", [5])
    assert resolved(tiny).configs["ring/teacher.json"] == before


def test_a_loss_file_that_moves_is_found_where_it_is(tiny, tmp_path):
    (tmp_path / "mine.py").write_text(EXTRA.format(name="doubled"))
    put(tiny, "students/doubled", {"loss": "doubled"})

    def files_from(place):
        put(tiny, "loss_modules", [str(place)])
        return plan(copy.deepcopy(tiny), "tiny.yaml", tmp_path / "results").loss_files["doubled"]

    mine, moved = tmp_path / "mine.py", tmp_path / "moved.py"
    assert str(mine) in files_from(mine)
    mine.rename(moved)
    assert str(moved) in files_from(moved)
