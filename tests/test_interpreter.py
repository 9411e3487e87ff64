"""What a step spares at its start and end, and what it must not spare."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from ttfm.interpreter import without_collector


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from ttfm.interpreter import leave\n{code}"], capture_output=True, text=True
    )


def test_the_collector_works_again_after_an_import_that_fails():
    assert gc.isenabled()
    with pytest.raises(ImportError), without_collector():
        assert not gc.isenabled()
        raise ImportError("no such library")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with without_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_was_printed_and_registered_comes_before_the_end_and_nothing_after_it():
    done = python("import atexit\natexit.register(print, 'registered')\nprint('printed')\nleave()\nprint('after')")
    assert done.returncode == 0
    assert done.stdout.split() == ["printed", "registered"]


def test_a_thread_that_still_works_is_waited_for():
    done = python(
        "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('finished'))).start()\nleave()"
    )
    assert done.returncode == 0
    assert done.stdout.split() == ["finished"]


def test_output_that_cannot_be_written_is_no_success():
    code = "from ttfm.interpreter import leave\nprint('lost')\nleave()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0
    assert "No space left" in done.stderr


def test_records_of_one_process_share_out_its_cpu_time():
    code = """
import time
from ttfm.provenance import cpu_seconds
first = cpu_seconds()
while time.process_time() < first + 0.2:
    pass
second = cpu_seconds()
assert first > 0 and 0.19 < second < 1, (first, second)
assert abs(first + second - time.process_time()) < 0.05
"""
    assert python(code).returncode == 0
