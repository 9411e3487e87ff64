"""What a user's Python file imports of the user's own."""

from ttfm.imports import with_imports


def files(folder, **contents):
    """Python files by their names, in which _S_ is a slash and __in the file of a package."""
    for name, content in contents.items():
        path = folder / f"{name.replace('__in', '/__init__').replace('_S_', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_what_lies_beside_or_below_the_working_folder_is_followed(tmp_path, monkeypatch):
    beside = files(
        tmp_path / "elsewhere",
        mine="import torch, os.path\nfrom beside import f\n\n\ndef later():\n    import mine.nothing, pack.one\n",
        beside="import mine  # in a circle\n",
        unused="",
    )
    here = files(tmp_path / "here", pack__in="from . import two\n", pack_S_one="", pack_S_two="from ..root import x\n")
    files(here, root="from pack import one, anything\n", pack_S_three="")
    monkeypatch.chdir(here)
    mine = str(beside / "mine.py")
    found = [str(beside / "beside.py"), "pack/__init__.py", "pack/one.py", "pack/two.py", "root.py"]
    assert with_imports([mine]) == [mine, *sorted(found)]
    assert with_imports(["pack/one.py"]) == ["pack/one.py"]
    assert with_imports([]) == []


def test_the_package_itself_and_what_cannot_be_read_are_left_to_others(tmp_path):
    path = files(tmp_path, mine="from ttfm.losses import Loss\nimport wrong\n", wrong="import beside, (") / "mine.py"
    files(tmp_path, beside="")
    assert with_imports([path]) == [str(path), str(tmp_path / "wrong.py")]
    assert with_imports([tmp_path / "missing.py"]) == [str(tmp_path / "missing.py")]
