"""The adaptive solver: its tolerance where torchdiffeq is there, what it asks of it where it is not."""

import sys
import types

import pytest
import torch

from tests.exact import linear_gaussian
from ttfm.flow.adaptive import dopri5
from ttfm.flow.solvers import solve

FIELD, EXACT = linear_gaussian((0.5, -1.0), 0.3)
TIMES = torch.linspace(0, 1, 5, dtype=torch.float64)


def exact(x):
    zeros = torch.zeros(len(x), dtype=x.dtype)
    return EXACT(zeros, zeros + 1, x)


def test_the_error_is_about_the_tolerance():
    pytest.importorskip("torchdiffeq")
    x = torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    errors = [(list(dopri5(FIELD, x, TIMES, tol, tol))[-1] - exact(x)).abs().max() for tol in (1e-3, 1e-6, 1e-9)]
    # Tolerances bound the error of a step; ten times as much is left for what the steps add up to.
    assert errors[0] < 1e-2 and errors[1] < 1e-4 and errors[2] < 1e-7
    assert errors[2] < errors[1] < errors[0]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[dopri5\]', or take 'rk4'"):
        list(dopri5(FIELD, torch.zeros(2, 2), TIMES))


def test_states_are_those_at_the_times_and_tolerances_are_passed_on(monkeypatch):
    asked = []

    def odeint(function, x, times, rtol, atol, method):
        asked.append((rtol, atol, method, *times.tolist()))
        middle = solve(lambda t, y: function(t[0], y), x, "rk4", 32, *times.tolist())
        return torch.stack([x, middle])

    monkeypatch.setitem(sys.modules, "torchdiffeq", types.SimpleNamespace(odeint=odeint))
    x = torch.randn(8, 2, dtype=torch.float64)
    states = list(dopri5(FIELD, x, TIMES, 1e-3, 1e-4))
    assert asked == [(1e-3, 1e-4, "dopri5", k / 4, (k + 1) / 4) for k in range(4)]
    assert len(states) == 5 and torch.equal(states[0], x)
    assert torch.allclose(states[-1], exact(x), atol=1e-6)
