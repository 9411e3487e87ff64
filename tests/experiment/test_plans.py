"""Plans on disk, and losses from files of the user's."""

import copy
from pathlib import Path

import pytest
import yaml

from tests.experiment.common import REGISTRY, SCHEMA_VALUE, put, resolved
from tests.registry import with_registry
from ttfm.files import read_json, write_json
from ttfm.planning import plan, registry_description
from ttfm.resolve import resolve

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
    configs = plan(tiny, "tiny.yaml", with_registry(tmp_path / "results")).configs
    student = configs["ring/doubled/0/student.json"]
    assert student["loss"]["options"]["factor"] == 3.0
    assert student["loss_modules"] == [str(tmp_path / "mine.py")]
    assert configs["ring/itvm/0/student.json"]["loss_modules"] == []


def test_a_users_loss_cannot_replace_one_of_ours(tiny, tmp_path):
    (tmp_path / "mine.py").write_text(EXTRA.format(name="itvm"))
    put(tiny, "loss_modules", [str(tmp_path / "mine.py")])
    with pytest.raises(ValueError, match="two losses are called 'itvm'"):
        plan(tiny, "tiny.yaml", with_registry(tmp_path / "results"))


def test_budgets_do_not_reach_training(tiny):
    before = resolved(copy.deepcopy(tiny)).configs
    put(tiny, "budgets", [1, 2, 16])
    after = resolved(tiny).configs
    changed = {path for path in before if before[path] != after[path]}
    assert changed
    assert all(path.endswith(("evaluate.json", "baselines.json")) for path in changed)


def test_a_plan_on_disk_leaves_unchanged_files_alone(tiny, tmp_path):
    plan(tiny, "tiny.yaml", with_registry(tmp_path))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert tmp_path / "tiny" / "plan" / "ring" / "itvm" / "0" / "student.json" in files
    put(tiny, "students/itvm/options", {"mu": 0.5})
    plan(tiny, "tiny.yaml", with_registry(tmp_path))
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


@pytest.mark.parametrize("damage", ["", "{", "{}"])
def test_a_plan_that_a_failing_machine_damaged_is_written_anew(tiny, tmp_path, damage):
    plan(tiny, "tiny.yaml", with_registry(tmp_path))
    path = tmp_path / "tiny" / "plan" / "ring" / "itvm" / "0" / "student.json"
    good = path.read_text()
    path.write_text(damage)
    plan(tiny, "tiny.yaml", with_registry(tmp_path))
    assert path.read_text() == good


def test_the_cached_registry_is_the_registry(tmp_path):
    assert registry_description(with_registry(tmp_path)) == REGISTRY


def test_a_missing_loss_module_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"loss_modules: .*nowhere\.py does not exist"):
        registry_description(tmp_path, ("nowhere.py",))


def test_the_files_of_a_loss_are_its_own_and_those_it_builds_on():
    files = resolve(
        yaml.safe_load(Path("workflow/experiments/tiny.yaml").read_text()), REGISTRY, SCHEMA_VALUE
    ).loss_files
    assert files["itvm"] == ["ttfm/losses/itvm.py"]
    assert files["meanflow_distill"] == [
        f"ttfm/losses/{name}.py" for name in ("meanflow_distill", "meanflow", "dispersive")
    ]


def test_a_loss_file_that_moves_is_found_where_it_is(tiny, tmp_path):
    (tmp_path / "mine.py").write_text(EXTRA.format(name="doubled"))
    put(tiny, "students/doubled", {"loss": "doubled"})

    def files_from(place):
        put(tiny, "loss_modules", [str(place)])
        return plan(copy.deepcopy(tiny), "tiny.yaml", with_registry(tmp_path / "results")).loss_files["doubled"]

    mine, moved = tmp_path / "mine.py", tmp_path / "moved.py"
    assert str(mine) in files_from(mine)
    mine.rename(moved)
    assert str(moved) in files_from(moved)


def test_weights_that_were_not_to_be_had_and_appear_are_found_by_the_next_plan_alone(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    put(tiny, "assets", str(tmp_path))
    results = with_registry(tmp_path / "results")
    at = "weights/lpips-squeeze"

    def watched():
        plan(copy.deepcopy(tiny), "tiny.yaml", results)
        return read_json(results / f"tiny/plan/{at}-watched.json")["listing"]

    write_json(results / f"tiny/{at}.json", {"status": "skipped"})
    assert watched() == ""
    weights = tmp_path / "weights" / "squeezenet1_1.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"1234")
    (weights.parent / "alexnet-owt-7be5be79.pth").touch()
    assert watched() == "squeezenet1_1.safetensors 4"
    # They were taken up: nothing is made anew for their sake, neither by what comes after it nor when they are gone.
    write_json(results / f"tiny/{at}.json", {"status": "ok"})
    weights.write_bytes(b"12345")
    assert watched() == "squeezenet1_1.safetensors 4"
    weights.unlink()
    assert watched() == "squeezenet1_1.safetensors 4"
