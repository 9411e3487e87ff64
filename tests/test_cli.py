"""Every step by itself: its help, its errors, and a run of each from one resolved JSON."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.registry import with_registry
from ttfm.cli import STEPS, main, parser
from ttfm.exits import GOES_ON, TRY_AGAIN
from ttfm.planning import plan


@pytest.mark.parametrize("step", STEPS)
def test_every_step_describes_itself(step, capsys):
    with pytest.raises(SystemExit) as stop:
        parser(step).parse_args([step, "--help"])
    assert stop.value.code == 0
    assert "--" in capsys.readouterr().out


def test_help_and_planning_never_import_torch(tmp_path):
    plan(yaml.safe_load(Path("workflow/experiments/tiny.yaml").read_text()), "tiny.yaml", with_registry(tmp_path))
    code = (
        "import sys, yaml; from pathlib import Path\n"
        "from ttfm.cli import parser, STEPS; from ttfm.planning import plan\n"
        "[parser(step) for step in STEPS]\n"
        f"plan(yaml.safe_load(open('workflow/experiments/tiny.yaml')), 'tiny.yaml', Path({str(tmp_path)!r}))\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_users_mistake_is_one_message_and_status_one(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "tables",
                "--config",
                str(tmp_path / "nowhere" / "experiment.json"),
                "--record",
                str(tmp_path / "record.json"),
            ]
        )
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert "nowhere" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("error", "device"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore"), "GPU"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 2 bytes"), "host"),
        (MemoryError(), "host"),
        (RuntimeError("std::bad_alloc"), "host"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "host"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "GPU"),
    ],
)
def test_memory_that_does_not_suffice_is_a_message_with_what_to_do(error, device, monkeypatch, tmp_path, capsys):
    from ttfm.steps import describe

    def fail(arguments):
        raise error

    monkeypatch.setattr(describe, "run", fail)
    with pytest.raises(SystemExit) as stop:
        main(["describe", "--out", str(tmp_path / "out.json")])
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert f"out of memory on the {device} in the step 'describe' (" in message
    assert "give it the device alone" in message and "`parts`" not in message
    assert "Traceback" not in message
    assert "\nmore" not in message


def test_a_training_can_take_less_memory_for_the_same_step():
    from ttfm.cli import _too_small

    message = _too_small("GPU", "student", ["plan/ring/itvm/0.json"], MemoryError("x"))
    assert "in the step 'student' of plan/ring/itvm/0.json (x): " in message
    assert "raise `parts`" in message and "the training begins anew" in message


def test_an_error_of_ours_keeps_its_traceback(monkeypatch, tmp_path):
    from ttfm.steps import describe

    def fail(arguments):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(describe, "run", fail)
    with pytest.raises(RuntimeError, match="a mistake"):
        main(["describe", "--out", str(tmp_path / "out.json")])


TEACHER = ["teacher", "--config", "c", "--weights", "w", "--curve", "u", "--record", "r"]


@pytest.mark.parametrize(
    ("told", "kept", "status"),
    [
        (signal.SIGTERM, True, TRY_AGAIN),
        (signal.SIGUSR1, True, TRY_AGAIN),
        (signal.SIGTERM, False, 128 + signal.SIGTERM),
    ],
)
def test_a_training_that_is_told_to_stop_before_it_trains_is_tried_again(told, kept, status, monkeypatch, capsys):
    from ttfm.steps import teacher

    monkeypatch.setattr(teacher, "run", lambda arguments: signal.raise_signal(told))
    before = signal.getsignal(told)
    with pytest.raises(SystemExit) as stop:
        main([*TEACHER, *(["--state", "s"] if kept else [])])
    assert stop.value.code == status
    assert (f"stopped by {told.name} before or after its training" in (message := capsys.readouterr().err)) == kept
    assert (GOES_ON in message) == kept
    assert signal.getsignal(told) is before


@pytest.fixture
def planned(tmp_path):
    config = yaml.safe_load(Path("workflow/experiments/tiny.yaml").read_text())
    plan(config, "tiny.yaml", with_registry(tmp_path))
    return tmp_path / "tiny"


def test_several_paths_are_several_runs_in_one_process(planned, tmp_path, capsys):
    config = str(planned / "plan" / "ring" / "data.json")
    outs, records = ([str(tmp_path / f"{n}.{end}") for n in "ab"] for end in ("npz", "json"))
    main(["data", "--config", config, "--out", *outs, "--record", *records])
    assert Path(outs[0]).read_bytes() == Path(outs[1]).read_bytes()
    assert all(json.loads(Path(record).read_text())["status"] == "ok" for record in records)
    with pytest.raises(SystemExit) as stop:
        main(["data", "--config", config, config, config, "--out", *outs, "--record", records[0]])
    assert stop.value.code == 2
    assert "--out: 2 paths for 3 runs; give one, or one for each" in capsys.readouterr().err


def steps(root, problem="ring", student="itvm"):
    """The chain of steps for one student of the ring, as a user would type it."""
    config, folder = root / "plan" / problem, root / problem
    run = folder / student / "0"
    trained = lambda at: f"--weights {at}/w.safetensors --curve {at}/curve.csv --record {at}/record.json"  # noqa: E731
    inputs = f"--data {folder}/data.npz --solution {folder}/solution.npz --metrics {run}/m.csv --samples {run}/s.npz"
    teacher = f"--teacher {folder}/teacher/w.safetensors"
    teacher_record = f"--teacher-record {folder}/teacher/record.json"
    return [
        f"data --config {config}/data.json --out {folder}/data.npz --record {folder}/data.json",
        f"teacher --config {config}/teacher.json {trained(folder / 'teacher')}",
        f"solution --config {config}/solution.json {teacher} {teacher_record} --out {folder}/solution.npz "
        f"--record {folder}/solution.json",
        f"student --config {config}/{student}/0/student.json {teacher} {teacher_record} "
        f"--solution {folder}/solution.npz --solution-record {folder}/solution.json {trained(run)}",
        f"evaluate --config {config}/{student}/evaluate.json --student {run}/w.safetensors "
        f"--student-record {run}/record.json {teacher} {inputs} --record {run}/evaluation.json",
    ]


def test_a_student_can_be_made_by_hand_with_provenance_beside_it(planned):
    for line in steps(planned):
        main(line.split())
    record = json.loads((planned / "ring" / "itvm" / "0" / "record.json").read_text())
    assert record["status"] == "ok"
    assert record["config"]["loss"]["options"]["terminal_target"] == "teacher_heun"
    assert {"commit", "dirty", "versions", "device", "started", "finished", "seconds", "peak_memory_mb"} <= set(record)
    assert record["versions"]["torch"]
    assert record["calls"] == {"forward": 3.5, "backward": 2.5, "jvp": 0.0, "teacher": 2.5}
    header = (planned / "ring" / "itvm" / "0" / "m.csv").read_text().splitlines()[0]
    assert header.startswith("experiment,problem,student,loss,seed,steps,metric,value,N,split,extractor")


def test_a_table_given_once_has_the_rows_of_all_runs(planned):
    chain = steps(planned)
    for line in [*chain, *(line.replace("/itvm/0/", "/itvm/1/") for line in chain[3:])]:
        main(line.split())
    runs = [planned / "ring" / "itvm" / str(seed) for seed in (0, 1)]
    apart = [(run / "m.csv").read_text().splitlines() for run in runs]
    assert [{line.split(",")[4] for line in lines[1:]} for lines in apart] == [{"0"}, {"1"}]
    joint, record = planned / "joint.csv", planned / "joint.json"
    several = ("--student", "--student-record", "--samples")
    line: list[str] = []
    for word in chain[4].split():
        given_twice = line and line[-1] in several
        line += [word, word.replace("/itvm/0/", "/itvm/1/")] if given_twice else [word]
    line[line.index("--metrics") + 1], line[line.index("--record") + 1] = str(joint), str(record)
    main(line)
    assert joint.read_text().splitlines() == apart[0] + apart[1][1:]
    assert json.loads(record.read_text())["status"] == "ok"


def test_the_record_says_what_precision_auto_was(planned, monkeypatch):
    config = planned / "plan" / "ring" / "teacher.json"
    run = json.loads(config.read_text())
    run["training"]["precision"] = "auto"
    config.write_text(json.dumps(run))
    monkeypatch.setattr("ttfm.flow.precision.fastest", lambda device: "bfloat16")
    for line in steps(planned)[:2]:
        main(line.split())
    record = json.loads((planned / "ring" / "teacher" / "record.json").read_text())
    assert record["config"]["training"]["precision"] == "bfloat16"


def test_several_averages_are_stored_beside_the_first(planned):
    config = planned / "plan" / "ring" / "teacher.json"
    run = json.loads(config.read_text())
    run["training"]["ema"] = [0.5, 0.9]
    config.write_text(json.dumps(run))
    folder = planned / "ring" / "teacher"
    for line in steps(planned)[:2]:
        main([*line.split(), *(["--averages", str(folder / "a.safetensors")] if line.startswith("teacher") else [])])
    weights, averages = load_file(folder / "w.safetensors"), load_file(folder / "a.safetensors")
    assert set(averages) == {f"{decay}/{name}" for decay in (0.5, 0.9) for name in weights}
    assert all(torch.equal(averages[f"0.5/{name}"], value) for name, value in weights.items())
    assert any(not torch.equal(averages[f"0.9/{name}"], value) for name, value in weights.items())


@pytest.mark.parametrize(("probe_every", "reason"), [(0, "non-finite loss term"), (1, "not finite")])
def test_a_diverged_student_is_a_result_with_its_reason(planned, probe_every, reason):
    config = planned / "plan" / "ring" / "itvm" / "0" / "student.json"
    run = json.loads(config.read_text())
    run["training"] |= {"lr": 1e30, "probe_every": probe_every}
    config.write_text(json.dumps(run))
    for line in steps(planned):
        main(line.split())
    record = json.loads((planned / "ring" / "itvm" / "0" / "record.json").read_text())
    assert record["status"] == "failed"
    assert reason in record["reason"]
    assert "(seed 0)" in record["reason"]
    rows = (planned / "ring" / "itvm" / "0" / "m.csv").read_text().splitlines()[1:]
    assert rows
    assert all(",failed," in row and reason in row for row in rows)


def test_students_of_a_diverged_fit_fail_with_its_reason_and_the_rest_goes_on(planned):
    config = planned / "plan" / "ring" / "teacher.json"
    run = json.loads(config.read_text())
    run["training"]["lr"] = 1e30
    config.write_text(json.dumps(run))
    for student, status in (("itvm", "failed"), ("meanflow", "ok")):
        for line in steps(planned, student=student):
            main(line.split())
        record = json.loads((planned / "ring" / student / "0" / "record.json").read_text())
        assert record["status"] == status
        assert ("the teacher failed: non-finite loss term" in record["reason"]) == (status == "failed")
    # The ring's velocity is known in closed form: its solution does not depend on the fit.
    assert json.loads((planned / "ring" / "solution.json").read_text())["status"] == "ok"


def test_damaged_weights_are_reported_by_name(planned, capsys):
    chain = steps(planned)
    for line in chain[:3]:
        main(line.split())
    weights = planned / "ring" / "teacher" / "w.safetensors"
    flipped = bytearray(weights.read_bytes())
    flipped[-10] ^= 1
    weights.write_bytes(flipped)
    with pytest.raises(SystemExit):
        main(chain[3].split())
    message = capsys.readouterr().err
    assert "w.safetensors: damaged weights: expected sha256" in message
    assert hashlib.sha256(flipped).hexdigest() in message
    # A workflow finds it missing and makes it anew.
    assert "set aside as damaged-w.safetensors; run the same command again" in message
    assert not weights.exists()
    assert weights.with_name("damaged-w.safetensors").read_bytes() == flipped


def test_layers_that_a_loss_adds_are_seeded(planned):
    """Their first weights are part of a run's numbers, also where the network itself is loaded."""
    config = planned / "plan" / "ring" / "itvm" / "0" / "student.json"
    run = json.loads(config.read_text())
    run["loss"] = {"name": "flowturbo", "options": {"width": 4}}
    config.write_text(json.dumps(run))
    chain = steps(planned)
    for line in chain[:3]:
        main(line.split())
    weights = planned / "ring" / "itvm" / "0" / "w.safetensors"
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        main(chain[3].split())
        found.append(load_file(weights))
    assert any(name.startswith("refiner") for name in found[0])
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_a_snapshot_at_the_end_is_the_end_and_damage_to_one_is_named(planned, capsys):
    config = planned / "plan" / "ring" / "itvm"
    for name, change in (("0/student", {"training": {"snapshots": [10, 20]}}), ("evaluate", {"headline": "mmd"})):
        run = json.loads((config / f"{name}.json").read_text())
        for key, value in change.items():
            run[key] = run[key] | value if isinstance(value, dict) else value
        (config / f"{name}.json").write_text(json.dumps(run))
    chain = steps(planned)
    kept = planned / "ring" / "itvm" / "0" / "kept.safetensors"
    scores = kept.with_name("snapshots.csv")
    chain[3] += f" --snapshots {kept}"
    chain[4] += f" --snapshots {kept} --snapshot-metrics {scores}"
    for line in chain:
        main(line.split())
    table = [line.split(",") for line in scores.read_text().splitlines()]
    iterations = [row[table[0].index("iteration")] for row in table[1:]]
    assert iterations == ["10", "10", "20", "20"]
    flipped = bytearray(kept.read_bytes())
    flipped[-1] ^= 1
    kept.write_bytes(flipped)
    with pytest.raises(SystemExit):
        main(chain[4].split())
    assert "kept.safetensors: damaged snapshots: expected sha256" in capsys.readouterr().err


def test_a_finite_divergence_is_one_too(planned, monkeypatch):
    from ttfm.evaluation import paired

    monkeypatch.setattr(paired, "DIVERGED", 1e-6)
    for line in steps(planned):
        main(line.split())
    record = json.loads((planned / "ring" / "itvm" / "0" / "record.json").read_text())
    assert record["status"] == "failed"
    assert "diverged: map error" in record["reason"] and "at the end of training (seed 0)" in record["reason"]
