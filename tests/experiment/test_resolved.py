"""What a plan makes of an experiment."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from tests.experiment.common import images_problem, put, resolved
from tests.registry import with_registry
from ttfm.experiment import ExperimentError
from ttfm.planning import plan

EXPERIMENTS = sorted(Path("workflow/experiments").glob("*.yaml"))
HEADER = re.compile(
    r"# What it shows: .*\n(?:#.*\n)*?"
    r"# Command: +(?:#?.*\n)*?.*\bsnakemake (?:.*\n)*?"
    # Cores or GPUs; memory, disk and time, each a number with its unit.
    r"# Machine: +\d+ (?:CPU cores|GPUs?)\b"
    r"(?=(?:.*\n)*?.*\d GB (?:of host memory )?a job)(?=(?:.*\n)*?.*\d [GM]B of disk)"
    r"(?=(?:.*\n)*?.*\d (?:minutes?|hours|days)\b)(?:.*\n)*?"
    r"# What comes: "
)


def test_a_problem_of_cifar10_plans_with_its_shape_and_without_the_digits_metrics(tiny, tmp_path):
    found = plan(images_problem(tiny, name="cifar10", limit=1000), "tiny.yaml", with_registry(tmp_path))
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


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_that_ships_is_valid_and_says_how_to_run_it(path):
    text = path.read_text()
    plan = resolved(yaml.safe_load(text))
    assert plan.runs
    assert HEADER.match(text), text[: text.index("name:")]


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


def test_a_student_can_start_from_another_and_then_gets_no_extra_iterations(tiny):
    tiny["students"]["second"] = {"loss": "meanflow", "start": "itvm"}
    plan = resolved(tiny)
    run = plan.configs["ring/second/1/student.json"]
    assert run["start"] == "itvm"
    assert run["training"]["iterations"] == 20
    assert plan.experiment["students"]["second"]["start"] == "itvm"


def test_the_baseline_is_the_one_asked_for_or_lfmd_or_the_first(tiny):
    assert resolved(copy.deepcopy(tiny)).experiment["baseline"] == "itvm"
    tiny["students"]["ours"] = {"loss": "lfmd"}
    assert resolved(copy.deepcopy(tiny)).experiment["baseline"] == "ours"
    tiny["baseline"] = "cd"
    assert resolved(copy.deepcopy(tiny)).experiment["baseline"] == "cd"
    tiny["baseline"] = "nobody"
    with pytest.raises(ExperimentError, match="baseline: 'nobody' is unknown"):
        resolved(tiny)


@pytest.mark.parametrize("headline", ["straightness", "semigroup_defect", "kl_histogram"])
def test_a_headline_is_ranked_at_every_budget_and_measured(tiny, headline):
    put(tiny, "problems/ring/evaluation/headline", headline)
    with pytest.raises(ExperimentError, match=f"problems.ring.evaluation.headline: '{headline}' is unknown"):
        resolved(tiny)


def test_students_snapshots_do_not_reach_their_teacher(tiny):
    before = resolved(copy.deepcopy(tiny)).configs["ring/teacher.json"]
    put(tiny, "problems/ring/training/snapshots", [5])
    assert resolved(tiny).configs["ring/teacher.json"] == before
