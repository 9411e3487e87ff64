"""The fine solution does not depend on how many samples are integrated at once."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.test_cli import steps
from ttfm.cli import main
from ttfm.planning import plan
from ttfm.steps import solution


def test_pieces_are_put_together_in_order(tmp_path, monkeypatch):
    plan(yaml.safe_load(Path("workflow/experiments/tiny.yaml").read_text()), "tiny.yaml", tmp_path)
    root = tmp_path / "tiny"
    lines = steps(root)
    main(lines[1].split())
    found = []
    for piece in (2**22, 2 * 100):
        monkeypatch.setattr(solution, "PIECE", piece)
        main(lines[2].split())
        with np.load(root / "ring" / "solution.npz") as arrays:
            found.append(dict(arrays))
    assert len(found[0]["x1"]) > 200
    assert set(found[0]) == {"x0", "x1", "times", "paths"}
    for name, whole in found[0].items():
        assert found[1][name] == pytest.approx(whole, abs=1e-6)
