"""Shared by all tests: one thread, so that numbers do not depend on the cores, and GPU tests only with a GPU."""

import pytest
import torch


def pytest_addoption(parser):
    parser.addoption(
        "--loss-module",
        action="append",
        default=[],
        metavar="PATH",
        help="a Python file with further losses, which tests/losses/test_generic.py and tests/training/test_states.py"
        " then verify too (repeatable)",
    )
    parser.addoption("--slow", action="store_true", help="also run the tests that take many minutes")


def pytest_configure(config):
    if modules := config.getoption("loss_module"):
        from tests.losses import generic

        try:
            generic.losses(tuple(modules))
        except (ValueError, FileNotFoundError) as error:
            raise pytest.UsageError(str(error)) from None


@pytest.fixture(autouse=True, scope="session")
def _single_thread():
    torch.set_num_threads(1)


def pytest_collection_modifyitems(config, items):
    # Long files first, so that at the end no worker waits for one of them.
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)
    if not config.getoption("slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="takes many minutes: --slow"))
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))
