"""What steps keep in files: weights, snapshots of them, arrays and trajectories."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttfm.files import DamagedResult, read_json, require_content

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch
    from torch import Tensor, nn

    from ttfm.losses import Loss
    from ttfm.training.trainer import Trajectories


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], about: dict[str, str]) -> None:
    """Store tensors atomically as safetensors, with metadata as one JSON text: the same content is the same bytes."""
    from safetensors.torch import save_file

    from ttfm.files import replacing

    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(path) as temporary:
        # Several entries would be written in an order of their own in every process.
        save_file(kept, temporary, metadata={"about": json.dumps(about, sort_keys=True)})


def save_weights(path: Path, network: nn.Module, about: dict[str, str]) -> None:
    """Store a network's weights atomically as safetensors."""
    save_tensors(path, network.state_dict(), about)


def load_weights(path: Path, network: nn.Module) -> nn.Module:
    """``network`` with the weights of ``path``, checked against the record beside them.

    Raises:
        DamagedResult: naming the file, if it is damaged or does not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    record = path.with_name("record.json")
    expected = read_json(record).get("sha256") if record.is_file() else None
    if expected:
        require_content(path, expected, "weights")
    try:
        network.load_state_dict(load_file(path, device="cpu"))
    except (SafetensorError, RuntimeError) as error:
        raise DamagedResult(path, "weights", f"or weights of another network ({error})") from None
    return network


def load_snapshots(path: Path, expected: str) -> dict[int, tuple[dict[str, torch.Tensor], float]]:
    """Weights kept during a training, by training step: the state and the seconds of training before it.

    Args:
        path: the file.
        expected: its sha256.

    Raises:
        DamagedResult: naming the file, if it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    require_content(path, expected, "snapshots")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            seconds = {int(step): float(after) for step, after in about.items() if step.isdigit()}
            found: dict[int, tuple[dict[str, torch.Tensor], float]] = {step: ({}, s) for step, s in seconds.items()}
            for key in file.keys():  # noqa: SIM118 - not a mapping
                step, name = key.split("/", 1)
                found[int(step)][0][name] = file.get_tensor(key)
    except SafetensorError as error:
        raise DamagedResult(path, "snapshots", str(error)) from None
    return dict(sorted(found.items()))


def load_network(path: Path, config: dict[str, Any], device: str = "cpu") -> nn.Module:
    """The network u(s, t, x) of a resolved config with the weights of ``path``; see :func:`load_weights`."""
    from ttfm.registry import build_network

    return load_weights(path, build_network(config["network"], config["shape"])).to(device)


def load_averages(path: Path, expected: str) -> dict[float, dict[str, torch.Tensor]]:
    """All averages of the weights that a training kept, by their decay or relative width.

    Args:
        path: the file.
        expected: its sha256.

    Raises:
        DamagedResult: naming the file, if it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    require_content(path, expected, "averages")
    found: dict[float, dict[str, torch.Tensor]] = {}
    try:
        for key, value in load_file(path).items():
            average, name = key.split("/", 1)
            found.setdefault(float(average), {})[name] = value
    except (SafetensorError, ValueError) as error:
        raise DamagedResult(path, "averages", str(error)) from None
    return found


def tensors(path: Path, names: Collection[str] | None = None) -> dict[str, torch.Tensor]:
    """Arrays of an ``.npz`` as tensors, all or those named."""
    import torch

    from ttfm.files import read_arrays

    return {name: torch.from_numpy(array) for name, array in read_arrays(path, names).items()}


def load_trajectories(
    arguments: argparse.Namespace, loss: Loss, device: str, config: dict[str, Any]
) -> Trajectories | None:
    """What a loss trains on of the teacher's ODE, by the step's arguments; None for one that does not.

    Of a network with classes it was drawn for the classes of ``indexed_labels``.

    Raises:
        ValueError: if a file that the loss needs was not given, or holds nothing.
    """
    import torch

    from ttfm.losses.declaration import place
    from ttfm.seeds import indexed_labels
    from ttfm.training.trainer import Trajectories

    if not loss.offline:
        return None

    def load(kind: str) -> dict[str, Tensor]:
        path = getattr(arguments, kind)
        if path is None:
            raise ValueError(
                f"{place(type(loss))}: loss {loss.name!r} trains on the teacher's stored {loss.offline}; give --{kind},"
                f" the file that `python -m ttfm {kind}` writes"
            )
        found = {name: value.to(device) for name, value in tensors(path).items()}
        if not found:
            raise ValueError(f"{path} holds no {kind}, because the teacher failed")
        return found

    schedules: dict[int, Tensor] = {}
    if loss.offline == "pairs":
        pairs = load("pairs")
        path = torch.stack([pairs["x0"], pairs["x1"]])
        times = torch.tensor([0.0, 1.0], device=device)
    else:
        stored = load("trajectories")
        times, path = stored["times"], stored["path"]
    if loss.offline == "schedules":
        schedules = {int(name.removeprefix("schedule_")): value for name, value in load("schedules").items()}
    classes = config["network"].get("classes", 0)
    labels = indexed_labels(path.shape[1], classes, counts=config.get("class_counts")).to(device) if classes else None
    return Trajectories(times, path, schedules, labels)
