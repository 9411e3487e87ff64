"""What an experiment can name: losses, networks, data sets and training options, and a description of them all.

The description is plain JSON, so that a workflow can be planned and checked without importing torch.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ttfm.data.arrays import read_images
from ttfm.data.celeba import CelebA
from ttfm.data.cifar10 import CIFAR10
from ttfm.data.densities import Checkerboard, Moons, Ring, Spirals
from ttfm.data.digits import Digits
from ttfm.data.folder import CelebAHQ, Folder
from ttfm.data.images import Images
from ttfm.data.latents import is_latents, read_latents
from ttfm.data.mnist import MNIST, FashionMNIST
from ttfm.data.sources import SOURCES, Source
from ttfm.evaluation.catalogue import BINS
from ttfm.imports import with_imports
from ttfm.losses import LOSSES, Loss, load_modules
from ttfm.networks.dit import DiT
from ttfm.networks.mlp import MLP
from ttfm.networks.unet import UNet
from ttfm.options import schema_of
from ttfm.training.rehearsal import rehearse
from ttfm.training.trainer import TrainingOptions

NETWORKS: dict[str, Any] = {"mlp": MLP, "unet": UNet, "dit": DiT}
DATA: dict[str, Any] = {
    "ring": Ring,
    "checkerboard": Checkerboard,
    "moons": Moons,
    "spirals": Spirals,
    "digits": Digits,
    "mnist": MNIST,
    "fashion_mnist": FashionMNIST,
    "cifar10": CIFAR10,
    "celeba": CelebA,
    "celebahq": CelebAHQ,
    "folder": Folder,
}


def describe(loss_modules: tuple[str, ...] = ()) -> dict[str, Any]:
    """Names, options and declarations of everything registered, as JSON-ready values.

    Args:
        loss_modules: further Python files that define losses.
    """
    load_modules(loss_modules)
    return {
        "losses": {
            name: {
                "options": schema_of(loss),
                "title": loss.title,
                "family": loss.family,
                "source": loss.source,
                "learns": loss.learns,
                "needs_teacher": loss.needs_teacher,
                "learns_data": not loss.offline and (loss.conditional or not loss.needs_teacher),
                "starts_from_teacher": starts_from_teacher(loss),
                "offline": loss.offline,
                "wraps": loss.wrap is not Loss.wrap,
                "files": (files := loss_files(loss, loss_modules)),
                "modules": [file for file in files if file in loss_modules],
                "summary": (inspect.getdoc(loss) or "").split("\n", 1)[0],
            }
            for name, loss in sorted(LOSSES.items())
        },
        "networks": {
            name: {"options": schema_of(network, skip=("shape",)), "kind": network.kind}
            for name, network in NETWORKS.items()
        },
        "data": {
            name: {
                "options": schema_of(data),
                "kind": data.kind,
                "shape": list(data.shape),
                "closed_form": data.closed_form,
                "available": data.available,
                "classes": getattr(data, "classes", 0),
                "probabilities": hasattr(data, "probabilities"),
            }
            for name, data in DATA.items()
        },
        "sources": {name: {"options": schema_of(source, skip=("data",))} for name, source in SOURCES.items()},
        "training": schema_of(TrainingOptions),
    }


def starts_from_teacher(loss: type[Loss]) -> bool:
    """Whether a student of this loss starts from its teacher's weights."""
    return loss.needs_teacher if loss.starts_from_teacher is None else loss.starts_from_teacher


def loss_files(loss: type[Loss], loss_modules: Sequence[str]) -> list[str]:
    """The source files that define a loss: its own, and those of other losses that it derives from or calls.

    Of a loss of ``loss_modules`` also what its file imports of the user's own, see :func:`ttfm.imports.with_imports`.
    Files of the package are relative to its folder, files of ``loss_modules`` are as they were given.
    """
    root = Path(__file__).parents[1]
    given = {str(Path(module).resolve()): module for module in loss_modules}
    found: dict[str, None] = {}
    waiting = [loss.__module__]
    while waiting:
        module = sys.modules[waiting.pop()]
        path = Path(str(module.__file__)).resolve()
        name = given.get(str(path)) or str(path.relative_to(root))
        if name in found or module.__name__ == Loss.__module__:
            continue
        found[name] = None
        used = {getattr(value, "__module__", None) for value in vars(module).values()}
        waiting += sorted(other for other in used if isinstance(other, str) and other.startswith("ttfm.losses."))
    own = [name for name in found if name in loss_modules]
    return list(dict.fromkeys([*found, *with_imports(own)]))


def impossible(plan: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Build every network (without memory for its weights), loss and training schedule of a plan once.

    What a schema cannot say, such as sides that a patch does not divide, is said by the constructors' own errors. A
    loss that comes with its ``network``, one from outside the package, takes a step on it.

    Args:
        plan: by the place in the experiment to name in messages: ``part``, which is "network", "loss", "training",
            "trajectories" or "grid", its resolved ``config``, and what else that part is checked against.

    Returns:
        The message of each entry that cannot be built.
    """
    faults = {}
    for where, entry in plan.items():
        try:
            _build(entry)
        except ValueError as error:
            faults[where] = str(error)
    return faults


def _build(entry: dict[str, Any]) -> None:
    part, config = entry["part"], entry["config"]
    if part == "network":
        with torch.device("meta"):
            build_network(config, tuple(entry["shape"]))
    elif part == "training":
        TrainingOptions(**config)
    elif part == "grid":
        build_data(config).probabilities(BINS)
    elif part == "trajectories":
        if config["kept"] > config["steps"] + 1:
            raise ValueError(f"kept: {config['kept']} times need at least {config['kept'] - 1} steps")
    else:
        loss = LOSSES[config["name"]](**config["options"])
        if loss.offline and loss.intervals >= entry["kept"]:
            raise ValueError(
                f"it needs {loss.intervals} stored intervals, and trajectories.kept stores {entry['kept'] - 1}"
            )
        if faults := [f"{steps} steps: {why}" for steps in entry.get("budgets", ()) if (why := loss.unserved(steps))]:
            raise ValueError("; ".join(faults))
        if "network" in entry:
            shape = tuple(entry["shape"])
            rehearse(loss, build_network(entry["network"], shape), shape, entry["kept"])


def build_network(config: dict[str, Any], shape: tuple[int, ...]) -> nn.Module:
    """The network of a resolved ``{"name": ..., options}`` entry for states of ``shape``."""
    options = {key: value for key, value in config.items() if key != "name"}
    return NETWORKS[config["name"]](shape=tuple(shape), **options)


def build_data(config: dict[str, Any], images: Path | None = None) -> Any:
    """The data set of a resolved ``{"name": ..., options}`` entry, to draw training data from.

    Args:
        config: the entry.
        images: for a set of images, the folder that the images step wrote, or the latents step: then it is latents.

    Raises:
        ValueError: if a set of images is asked for without its folder.
    """
    data = build_reader(config)
    if data.kind != "images":
        return data
    if images is None:
        raise ValueError(
            f"data: {config['name']!r} is a set of images; give --images, the folder that `python -m ttfm images` wrote"
        )
    if is_latents(images):
        return read_latents(images)
    found = read_images(images)
    train = found.splits["train"]
    return Images(train.images, train.labels, found.maximum, getattr(data, "flips", False), found.classes)


def build_reader(config: dict[str, Any]) -> Any:
    """A density, or the reader of a set of images, of a resolved ``{"name": ..., options}`` entry."""
    return DATA[config["name"]](**{key: value for key, value in config.items() if key != "name"})


def build_source(config: dict[str, Any], data: Any) -> Source:
    """The source distribution of a resolved ``{"name": ..., options}`` entry; ``data`` may be None for the Gaussian."""
    return SOURCES[config["name"]](data, **{key: value for key, value in config.items() if key != "name"})
