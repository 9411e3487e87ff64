import subprocess
import sys

from ttfm.locks import drop_stale_locks

HOLD = (
    "import sys; from pathlib import Path; from ttfm.locks import drop_stale_locks\n"
    "drop_stale_locks(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.read()"
)


def test_files_of_a_dead_run_are_removed_and_those_of_a_living_one_are_not(tmp_path):
    locks = tmp_path / ".snakemake" / "locks"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "ready\n"
        locks.mkdir()
        (locks / "0.input.lock").touch()
        assert not drop_stale_locks(tmp_path)
        assert (locks / "0.input.lock").exists()
        other.kill()
    # This process still holds its own shared lock from the call above; a third one is alone only once that is gone.
    from ttfm import locks as module

    module._held.pop().close()
    assert drop_stale_locks(tmp_path)
    assert not list(locks.iterdir())
    module._held.pop().close()
