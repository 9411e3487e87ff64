"""A loss that cannot be used is an error when the experiment is planned, named by file and line."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.registry import with_registry
from ttfm.losses import LOSSES, load_modules, register
from ttfm.losses.declaration import DeclarationError
from ttfm.losses.lfmd import LFMD
from ttfm.planning import plan

ROOT = Path(__file__).parents[2]
GOOD = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ttfm.losses import Loss, Variant, register
from ttfm.losses.base import squared_norm
from ttfm.losses.lfmd import LFMD
from ttfm.options import Positive

@register
@dataclass(frozen=True)
class Mine(Loss):
    """My loss."""

    factor: Positive = 2.0

    name = "mine"
    title = "Mine"
    family = "velocity"
    source = "my own"
    learns = "velocity"
    needs_teacher = False
    conditional = True

    def terms(self, batch, student, target, teacher):
        """One term."""
        x = batch.at(batch.s)
        return {"velocity": self.factor * squared_norm(student.velocity(batch.s, x) - (batch.x1 - batch.x0))}
'''
CLASS_LINE = 1 + GOOD[: GOOD.index("class Mine")].count("\n")


def lines(text):
    return text.count("\n") + 1


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return path

    yield written
    LOSSES.pop("mine", None)


def fault(path):
    before = dict(LOSSES)
    with pytest.raises(DeclarationError) as error:
        load_modules((str(path),))
    assert before == LOSSES, "what failed half-way left something behind"
    return str(error.value)


def test_a_good_declaration_is_registered(write):
    assert load_modules((str(write(GOOD)),))["mine"].title == "Mine"


WRONG = [
    ("    name = ", "    nom = ", "name is missing: name = ... (the name by which experiments call it)"),
    ('    title = "Mine"', "", "title is missing"),
    ('    title = "Mine"', '    title = ""', "title is missing: title = ''"),
    ('    family = "velocity"', "", "family is missing"),
    ('    source = "my own"', "", "source is missing"),
    ('    learns = "velocity"', "", "learns: is missing; one of 'velocity', 'to_data', 'any_to_any', 'own'"),
    (
        '    learns = "velocity"',
        '    learns = "data"',
        "learns: 'data' is not allowed; one of 'velocity', 'to_data', '",
    ),
    ("    needs_teacher = False", "", "needs_teacher: is missing; True or False"),
    ("    needs_teacher = False", "    needs_teacher = 'no'", "needs_teacher: 'no' is not allowed; True or False"),
    ("    conditional = True", "    conditional = 1", "conditional: 1 is not allowed; True or False"),
    (
        '    learns = "velocity"',
        '    learns = "own"',
        "it learns 'own' and has no method sample(self, model, x0, steps",
    ),
    ("    def terms(", "    def term(", "it has no method terms(self, batch, student, target, teacher)"),
    ("target, teacher)", "teacher)", "its method is terms(self, batch, student, teacher); it must be terms(self, b"),
    (
        "    factor: Positive = 2.0",
        "    factor = 2.0",
        "factor = 2.0 has no annotation; an option is written factor: flo",
    ),
    ("    factor: Positive = 2.0", "    factor: dict = None", "its options cannot be read: an option of type"),
    (
        "    factor: Positive = 2.0",
        "    factor: Positiv = 2.0",
        "its options cannot be read: name 'Positiv' is not def",
    ),
    ("    name = ", "    name: str = ", "name is declared with an annotation, which makes it an option"),
    ("@dataclass(frozen=True)\n", "", "it is no frozen dataclass"),
    ("@register\n@dataclass(frozen=True)\n", "@dataclass(frozen=True)\n@register\n", "it is no frozen dataclass"),
    ("(Loss):", ":", "Mine is no loss: a loss is a class derived from ttfm.losses.Loss"),
    ("    conditional = True", "    variants = ()", "variants: it must be a tuple of at least one Variant(...)"),
    (
        "    conditional = True",
        '    variants = (Variant({"factr": 1}),)',
        "variants[0]: Mine.__init__() got an unexpected",
    ),
    ("    conditional = True", "    stages = 2\n    target_decay = 0.5", "variants[0]: a target is averaged"),
    ('"mine"', '"lfmd"', "two losses are called 'lfmd': here and at "),
]


@pytest.mark.parametrize(("right", "wrong", "message"), WRONG, ids=[f"{w.strip()[:30]}" for _, w, _ in WRONG])
def test_a_wrong_declaration_is_named_by_file_and_line(write, right, wrong, message):
    assert right in GOOD
    path = write(GOOD.replace(right, wrong))
    found = fault(path)
    line = 1 + path.read_text()[: path.read_text().index("class Mine")].count("\n")
    assert found.startswith(f"{path}:{line}: ")
    assert message in found


def test_all_faults_of_a_class_are_reported_at_once(write):
    text = GOOD.replace('    title = "Mine"\n', "").replace('"velocity"\n    needs', '"all"\n    needs')
    assert re.search(r"cannot be used: \n  title is missing.*\n  learns: 'all'", fault(write(text)))


def test_an_inherited_option_is_not_changed_without_its_annotation(write):
    text = (
        GOOD + '\n@register\n@dataclass(frozen=True)\nclass Other(LFMD):\n    gradient = "full"\n    name = "other"\n'
    )
    assert "gradient = 'full' does not change the inherited option" in fault(write(text))


def test_constants_are_not_taken_for_options(write):
    text = GOOD.replace("    factor:", "    LIMIT = 3\n    _cut = 2\n    bound: ClassVar[float] = 1.0\n    factor:")
    assert "mine" in load_modules((str(write(text)),))


IMPORTS = [
    (GOOD.replace("class Mine(Loss):", "class Mine(Loss)"), CLASS_LINE, "SyntaxError: expected ':': class Mine(Loss)"),
    (
        GOOD + "\nimport nowhere\n",
        lines(GOOD) + 1,
        "ModuleNotFoundError: No module named 'nowhere' (in: import nowhere)",
    ),
    (GOOD + "\nfactor + 1\n", lines(GOOD) + 1, "NameError: name 'factor' is not defined (in: factor + 1)"),
    (GOOD.replace("(frozen=True)", ""), CLASS_LINE - 1, "TypeError: cannot inherit non-frozen dataclass from a frozen"),
    (GOOD.replace("@register\n", ""), None, "it defines no loss; write @register above the loss's class"),
]


@pytest.mark.parametrize(
    ("text", "line", "message"), IMPORTS, ids=["syntax", "import", "name", "frozen", "unregistered"]
)
def test_a_file_that_cannot_be_imported_is_named_with_its_line(write, text, line, message):
    path = write(text)
    found = fault(path)
    assert found.startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert message in found
    assert "\n" not in found


def test_a_file_that_is_no_python_is_named(tmp_path):
    (tmp_path / "mine.txt").write_text(GOOD)
    assert "no Python file; its name must end in .py" in fault(tmp_path / "mine.txt")


@pytest.mark.parametrize("loss", load_modules().values(), ids=lambda loss: loss.name)
def test_every_loss_says_what_it_computes_and_what_it_costs(loss):
    # Its own words: options may be inherited, what is computed never is.
    about = inspect.cleandoc(vars(loss)["__doc__"] or "")
    assert ".. math::" in about
    assert re.search(r"^Cost\b.*:", about, re.M)
    assert re.search(r"^Source's symbols: \S", about, re.M)
    assert re.search(r"^What goes wrong: \S", about, re.M)
    papers = re.findall(r"\d{4}\.\d{5}", loss.source)
    assert papers or "ttfm" in loss.source
    assert not [paper for paper in papers if paper not in about], "papers of the declared source are missing"


def test_every_loss_has_a_file_of_its_own():
    assert {loss.name: loss.__module__ for loss in load_modules().values()} == {
        name: f"ttfm.losses.{name}" for name in load_modules()
    }


def test_a_name_is_taken_once():
    class Impostor(LFMD):
        pass

    with pytest.raises(DeclarationError, match=r"test_declarations\.py:\d+: two losses are called 'lfmd': here and at"):
        register(Impostor)
    assert LOSSES["lfmd"] is LFMD


def test_what_a_class_of_the_package_declares_is_checked_too():
    with pytest.raises(DeclarationError, match="is no loss"):
        register(lambda batch: None)


def test_planning_shows_the_message_alone(write, tmp_path):
    path = write(GOOD.replace('    learns = "velocity"', '    learns = "data"'))
    config = yaml.safe_load((ROOT / "workflow" / "experiments" / "tiny.yaml").read_text())
    with pytest.raises(ValueError, match="learns: 'data'") as error:
        plan(config | {"loss_modules": [str(path)]}, "tiny.yaml", with_registry(tmp_path / "results"))
    line = 1 + path.read_text()[: path.read_text().index("class Mine")].count("\n")
    assert str(error.value) == (
        f"the experiment cannot be planned:\n{path}:{line}: the loss Mine cannot be used: "
        "learns: 'data' is not allowed; one of 'velocity', 'to_data', 'any_to_any', 'own'"
    )


def test_terms_that_are_not_values_per_sample_end_the_planning(write, tmp_path):
    text = (
        GOOD[: GOOD.index('"""One term."""')] + '"""One term."""\n        return student.velocity(batch.s, batch.x0)\n'
    )
    path = write(text)
    config = yaml.safe_load((ROOT / "workflow" / "experiments" / "tiny.yaml").read_text())
    config |= {"loss_modules": [str(path)], "students": config["students"] | {"mine": {"loss": "mine"}}}
    with pytest.raises(ValueError, match=r"students\.mine \(on \w+\): .*: terms returned a tensor of shape") as error:
        plan(config, "tiny.yaml", with_registry(tmp_path / "results"))
    assert f"{path}:{lines(text[: text.index('def terms')])}: " in str(error.value)


def test_what_is_stored_is_named(write):
    path = write(GOOD.replace("    conditional = True", "    conditional = True\n    offline = True"))
    assert "offline: True is not allowed; one of '', 'pairs', 'trajectories', 'schedules'" in fault(path)


def test_a_path_below_the_working_directory_is_shown_as_it_is_written(write):
    path = write(GOOD + "\n1 / 0\n")
    done = subprocess.run(
        [sys.executable, "-m", "ttfm", "describe", "--out", "out.json", "--loss-module", "mine.py"],
        cwd=path.parent,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f" mine.py:{lines(GOOD) + 1}: ZeroDivisionError: division by zero (in: 1 / 0)\n" in done.stderr
    assert "Traceback" not in done.stderr
