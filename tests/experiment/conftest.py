"""The tiny experiment, to be changed by a test."""

from pathlib import Path

import pytest
import yaml


@pytest.fixture
def tiny():
    return yaml.safe_load(Path("workflow/experiments/tiny.yaml").read_text())
