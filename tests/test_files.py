import ast
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import ttfm
from ttfm.files import (
    DamagedResult,
    Spool,
    map_array,
    read_arrays,
    read_json,
    replacing,
    require_content,
    set_aside,
    sha256,
    write_arrays,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "value.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


WRITE = (
    "import sys, time; from ttfm.cli import main; from ttfm.files import replacing; from ttfm.steps import describe\n"
    "def run(arguments):\n"
    "    with replacing(arguments.out) as temporary:\n"
    "        temporary.write_text('half')\n"
    "        print(temporary, flush=True)\n"
    "        time.sleep(600)\n"
    "describe.run = run\n"
    "main(['describe', '--out', sys.argv[1]])"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_stopped_leaves_no_half_written_file_for_long(number, tmp_path):
    target, others = tmp_path / "value[1].txt", [tmp_path / ".value[1].elsewhere-1-x.txt", tmp_path / ".value.txt"]
    for other in others:
        other.touch()
    command = [sys.executable, "-c", WRITE, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        temporary = Path(process.stdout.readline().strip())
        assert temporary.read_text() == "half"
        # Of a living process.
        write_text(target, "other")
        assert temporary.exists()
        process.send_signal(number)
    assert process.returncode == (128 + number if number == signal.SIGTERM else -number)
    assert temporary.exists() == (number == signal.SIGKILL)
    write_text(target, "new")
    assert sorted(tmp_path.iterdir()) == sorted([target, *others])


def test_json_refuses_what_json_has_no_word_for(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_reported_by_name(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DamagedResult, match=r"a\.json: damaged file: not valid JSON"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b'"\xff"')
    with pytest.raises(DamagedResult, match="not valid JSON"):
        read_json(tmp_path / "a.json")


def test_content_is_required_by_its_digest(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    require_content(tmp_path / "a", sha256(tmp_path / "a"), "thing")
    with pytest.raises(DamagedResult, match=f"a: damaged thing: expected sha256 x, found {sha256(tmp_path / 'a')}"):
        require_content(tmp_path / "a", "x", "thing")


def test_a_damaged_file_is_set_aside_or_left_to_the_user(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"content")
    assert "run the same command again" in set_aside(tmp_path / "a.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged-a.npz"]
    assert "delete it" in set_aside(tmp_path / "missing")


@pytest.mark.parametrize("position", [40, -100])
def test_a_flipped_bit_in_an_array_file_is_reported_with_both_digests(tmp_path, position):
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(1000)})
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    found = hashlib.sha256(content[:-64]).hexdigest()
    with pytest.raises(ValueError, match=rf"a\.npz: damaged.* expected sha256 {content[-64:].decode()}, found {found}"):
        read_arrays(path)


def test_a_cut_array_file_is_reported_by_name(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(1000)})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"a\.npz: damaged array file.*cut off") as error:
        read_arrays(path)
    assert sha256(path) in str(error.value)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="cut off"):
        read_arrays(path)


def test_numpy_reads_sealed_arrays_too(tmp_path):
    write_arrays(tmp_path / "a.npz", {"x": np.arange(3)})
    assert np.array_equal(np.load(tmp_path / "a.npz")["x"], np.arange(3))


def test_pickled_arrays_are_never_loaded(tmp_path):
    write_arrays(tmp_path / "a.npz", {"x": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_arrays(tmp_path / "a.npz")


def test_round_trips(tmp_path):
    write_arrays(tmp_path / "a.npz", {"x": np.arange(3), "y": np.eye(2)})
    first = sha256(tmp_path / "a.npz")
    found = read_arrays(tmp_path / "a.npz")
    assert np.array_equal(found["y"], np.eye(2))
    write_arrays(tmp_path / "a.npz", {"x": np.arange(3), "y": np.eye(2)})
    assert sha256(tmp_path / "a.npz") == first
    write_json(tmp_path / "a.json", {"ü": [1, 2.5, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == read_json(tmp_path / "a.json") == {"ü": [1, 2.5, None]}


def test_an_array_that_is_put_together_on_disk_is_whole_and_leaves_no_file(tmp_path):
    with Spool(tmp_path / "new") as spool:
        for start in range(3):
            spool.add(np.arange(start * 4, start * 4 + 4).reshape(2, 2))
        array = spool.array("int64", (6, 2))
    assert array.tolist() == np.arange(12).reshape(6, 2).tolist()
    assert not list((tmp_path / "new").iterdir())
    with Spool(tmp_path) as spool:
        assert spool.array("uint8", (0, 3)).shape == (0, 3)


def test_a_mapped_array_is_the_one_that_was_written_and_fills_no_memory(tmp_path):
    large = np.zeros((256, 3, 128, 128), dtype=np.uint8)
    large[7] = 9
    write_arrays(tmp_path / "a.npz", {"pixels": large, "x1": np.ones(3)})
    tracemalloc.start()
    mapped = map_array(tmp_path / "a.npz", "pixels", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < large.nbytes / 2
    assert mapped is not None and not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, large)
    assert map_array(tmp_path / "a.npz", "other", tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    with (tmp_path / "a.npz").open("r+b") as file:
        file.seek(40)
        file.write(b"other")
    with pytest.raises(DamagedResult, match=r"a\.npz: damaged array file"):
        map_array(tmp_path / "a.npz", "pixels", tmp_path)


MODULES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
"""Modules whose files hold code that runs when they are read."""
FUNCTIONS = ("read_pickle", "to_pickle", "jit.load")


def unsafe(text):
    """What of a module's source could run code of a file that it reads as data."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.Import | ast.ImportFrom):
            prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names = [prefix + alias.name for alias in node.names]
            # Calls are recognised by their module's name.
            wrong = any(name.partition(".")[0] in MODULES or name.endswith(FUNCTIONS) for name in names)
            wrong = wrong or "torch.load" in names
        elif isinstance(node, ast.Call):
            name, given = ast.unparse(node.func), {part.arg: ast.unparse(part.value) for part in node.keywords}
            wrong = name.endswith(FUNCTIONS) or (name == "torch.load" and given.get("weights_only") != "True")
            wrong = wrong or given.get("allow_pickle", "False") != "False"
        else:
            continue
        if wrong:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "text",
    [
        *("import pickle", "from pickle import loads", "import marshal", "import shelve", "import dill as d"),
        *("from joblib import load", "import os, _pickle", "pd.read_pickle(path)", "frame.to_pickle(path)"),
        *("torch.jit.load(path)", "from torch import load", "from torch.jit import load", "torch.load(path)"),
        *("torch.load(path, weights_only=False)", "torch.load(path, weights_only=safe)"),
        *("np.load(path, allow_pickle=True)", "np.load(path, allow_pickle=wanted)"),
    ],
)
def test_what_could_load_a_pickle_is_found(text):
    assert unsafe(text) == [text]


def test_nothing_in_the_package_loads_a_pickle():
    """Beside the linter's rules, which know of no torch.load and of no numpy."""
    assert unsafe("torch.load(path, map_location='cpu', weights_only=True); np.load(path, allow_pickle=False)") == []
    for path in Path(ttfm.__file__).parent.rglob("*.py"):
        assert unsafe(path.read_text(encoding="utf-8")) == [], path


def test_what_a_full_disk_had_no_room_for_is_named(tmp_path):
    path = tmp_path / "table.csv"
    with pytest.raises(OSError, match=rf"No space left on device: '{path}'"), replacing(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())
