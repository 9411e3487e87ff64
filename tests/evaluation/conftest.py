from __future__ import annotations

from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_limits

from ttfm.data import digits
from ttfm.evaluation import classifier


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """One thread for torch and for the BLAS of NumPy: the arrays are small, and tests share their cores."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def classifier_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digit classifier, trained once for all tests of this folder."""
    path = tmp_path_factory.mktemp("classifier") / "classifier.safetensors"
    weights, _ = classifier.train_classifier(*digits.load("train"), seed=0)
    classifier.save(path, weights)
    return path
