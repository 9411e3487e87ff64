"""A teacher that was trained elsewhere: its weights, in our keys or brought into them by an adapter."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttfm.files import sha256
from ttfm.imports import with_imports
from ttfm.steps.common import log, write_csv, write_record
from ttfm.steps.stored import save_tensors, save_weights

if TYPE_CHECKING:
    import torch
    from torch import nn

SHOWN = 5
"""Names of a kind that a message lists."""


def import_teacher(config: dict[str, Any], device: str, started: str, outputs: argparse.Namespace) -> None:
    """Write the files of a teacher's training from weights of the user's.

    The record names the files, what the adapter imports of the user's among them, and their sha256. An adapter is a
    Python file with ``def load(path)`` that returns a dictionary from our keys to tensors; without one the weights are
    safetensors in our keys, those of the network's ``state_dict``. The network is called as u(s, t, x) with t = 0 for
    noise and t = 1 for data.

    Raises:
        ValueError: naming the file and what is missing, unexpected or of another shape.
    """
    from ttfm.networks.cost import parameter_count
    from ttfm.registry import build_network

    weights, adapter = config["import"]["weights"], config["import"].get("adapter")
    state = _adapted(Path(adapter), weights) if adapter else _read(weights)
    network = build_network(config["network"], config["shape"])
    _check(state, network, f"{weights}{f' as read by {adapter}' if adapter else ''}")
    network.load_state_dict(state)
    save_weights(outputs.weights, network, {"problem": config["problem"], "status": "ok"})
    for path in filter(None, (outputs.snapshots, outputs.averages)):
        save_tensors(path, {}, {"status": "ok"})
    write_csv(outputs.curve, [], ["step", "seconds", "loss"])
    outcome = {"iterations": 0, "batch": config["training"]["batch"], "seconds": 0.0, "seconds_per_step": None}
    outcome |= {"parameters": parameter_count(network), "sha256": sha256(outputs.weights), "calls": {}}
    outcome["imported"] = {path: sha256(path) for path in (weights, *with_imports([adapter] if adapter else []))}
    write_record(outputs.record, config, device, started, **outcome, before={"iterations": 0, "seconds": 0.0})
    log.info("%s: the teacher's weights are those of %s", config["problem"], weights)


def _read(path: str) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: no safetensors ({error}); name an adapter in teacher.adapter to read it") from None


def _adapted(adapter: Path, weights: str) -> dict[str, torch.Tensor]:
    import torch

    from ttfm.losses.declaration import import_fault

    spec = importlib.util.spec_from_file_location("ttfm_adapter", adapter)
    if spec is None or spec.loader is None:
        raise ValueError(f"{adapter}: no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        state = module.load(weights)
    except Exception as error:
        raise ValueError(import_fault(adapter, error)) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{adapter}: load(path) must return a dictionary of tensors by name")
    return state


def _check(state: dict[str, torch.Tensor], network: nn.Module, what: str) -> None:
    expected = network.state_dict()
    both = [name for name in expected if name in state]
    faults = {
        "missing": [name for name in expected if name not in state],
        "unexpected": [name for name in state if name not in expected],
        "of another shape": [
            f"{name} {tuple(state[name].shape)}, not {tuple(expected[name].shape)}"
            for name in both
            if state[name].shape != expected[name].shape
        ],
        "not finite": [name for name in both if not state[name].isfinite().all()],
    }
    told = [f"{kind}: {_listed(names)}" for kind, names in faults.items() if names]
    if told:
        raise ValueError(f"{what}: not the weights of the problem's network; " + "; ".join(told))


def _listed(names: list[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
