"""What several steps share: arguments, devices, weights on disk and records."""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ttfm.files import read_json, sha256

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from ttfm.data.sources import Source
    from ttfm.flow.solvers import Field
    from ttfm.losses import Loss

log = logging.getLogger("ttfm")
T = TypeVar("T")


def path_argument(parser: argparse.ArgumentParser, name: str, text: str, required: bool = True) -> None:
    """Add ``--name PATH``; several paths stand for several runs of the step, see :func:`ttfm.cli.main`."""
    parser.add_argument(f"--{name}", type=Path, nargs="+", metavar="PATH", required=required, help=text)


def config_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``, the resolved JSON of the run."""
    path_argument(parser, "config", "the run's resolved JSON, as written by the plan step")


def teacher_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the teacher's weights, and the record that says whether its training came to anything."""
    path_argument(parser, "teacher", "the teacher's weights (safetensors)")
    path_argument(parser, "teacher-record", "the teacher's training record (JSON)")


def images_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--images``, the folder of a problem's images or latents, which problems of points do not have."""
    path_argument(parser, "images", "the folder that the images or the latents step wrote (images only)", False)


def experiment_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--config`` for steps that read a whole experiment: its resolved JSON, with the results beside it."""
    path_argument(parser, "config", "the experiment's resolved JSON (experiment.json), its results beside it")


def build_loss(config: dict[str, Any]) -> Loss:
    """The loss of a resolved config."""
    from ttfm.losses import load_modules

    return load_modules(tuple(config["loss_modules"]))[config["loss"]["name"]](**config["loss"]["options"])


def teacher_field(config: dict[str, Any], network: nn.Module) -> Field:
    """The teacher's velocity: closed form where the data set has one, else the network's diagonal.

    A training asks it in the precision of its own networks; whatever measures, in full precision.
    """
    from ttfm.flow.fields import GuidedField, LearnedField
    from ttfm.registry import build_data

    if config["closed_form"]:
        return build_data(config["data"]).field()
    precision = config.get("training", {}).get("precision", "float32")
    network = network.eval().requires_grad_(False)
    if config.get("training", {}).get("compile"):
        from ttfm.training.compiling import compiled

        compiled(network)
    if guidance := config.get("guidance"):
        return GuidedField(network, config["network"]["classes"], **guidance, precision=precision)
    return LearnedField(network, precision=precision)


def labelled(config: dict[str, Any], count: int, device: str, first: int = 0, repeated: bool = False) -> Any:
    """A context in which the samples are those of indices ``first`` .. ``first + count - 1``, with their classes.

    Without classes it does nothing. ``repeated``: networks are asked about them several times over in one call.
    """
    from contextlib import nullcontext

    from ttfm.flow.labels import bound
    from ttfm.seeds import indexed_labels

    if not (classes := config["network"].get("classes", 0)):
        return nullcontext()
    labels = indexed_labels(count, classes, first, config.get("class_counts"))
    return bound(labels.to(device), repeated)


def source_noise(
    config: dict[str, Any],
    seed: int,
    count: int,
    stream: str,
    first: int = 0,
    images: Path | None = None,
    start: int = 0,
) -> torch.Tensor:
    """States at t = 0 for sample indices start .. count-1, ``(count - start, *shape)``: a function of the index alone.

    Args:
        config: a resolved config; its source and data count.
        seed: seed of the noise.
        count: number of samples.
        stream: name of the stream.
        first: which of several independent states per sample.
        images: the folder of the problem's images, where the source measures them.
        start: the first index.
    """
    from ttfm.seeds import indexed_noise

    # Draws that a source may need beside the first keep clear of those of the other states.
    apart = 1000
    draw = lambda j: indexed_noise(seed, count, tuple(config["shape"]), stream, first + apart * j, start)  # noqa: E731
    return _source(json.dumps([config["source"], config["data"]]), images).sample(draw)


SMALL = 2**12
"""Numbers of a small image: one of 32 x 32 pixels in colour has fewer."""


def piece_size(shape: Sequence[int]) -> int:
    """How many images pass through a model at once: a fixed number, so that no result depends on the machine.

    The larger they are, the fewer, so that features of a U-Net stay below some gigabytes.

    Args:
        shape: of one image, ``(C, H, W)``.
    """
    from ttfm.seeds import BLOCK

    numbers = math.prod(shape)
    if numbers <= SMALL:
        return BLOCK * max(1, 2**18 // (numbers * BLOCK))
    return max(4, 2 ** int(math.log2(2**20 / numbers)))


@cache
def _source(described: str, images: Path | None) -> Source:
    """The source of a config's entries, as JSON; measured once in a process, and a Gaussian reads no data for it."""
    from ttfm.registry import build_data, build_source

    source, data = json.loads(described)
    return build_source(source, None if source["name"] == "gaussian" else build_data(data, images))


def record_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--record``, the provenance that stands beside what a step writes."""
    path_argument(parser, "record", "where to write the provenance (JSON)")


def write_record(path: Path, config: dict[str, Any], device: str, started: str, **outcome: Any) -> None:
    """Write the provenance of what a step made; ``outcome`` holds its status and whatever else it has to say."""
    from ttfm.files import write_json
    from ttfm.imports import with_imports
    from ttfm.provenance import record

    modules = with_imports(config.get("loss_modules", []))
    found = {"status": "ok", "reason": ""} | outcome | record(config, device, started, modules)
    if modules:
        found["loss_modules"] = {module: sha256(module) for module in modules}
    write_json(path, found)
    log.info("%s, started %s, finished %s: %s", found["status"], started, found["finished"], path)


def progress(steps: Iterable[T], total: int, what: str, unit: str = "step") -> Iterable[T]:
    """``steps`` behind a progress bar on standard error; none where that is not a terminal."""
    from tqdm import tqdm

    return tqdm(steps, total=total, desc=what, unit=unit, disable=None)


def teacher_failure(record: Path) -> str:
    """Why there is no teacher, in words for whatever needs it; empty if there is one."""
    reason = failure(record)
    return reason and f"the teacher failed: {reason}"


def kept_steps(steps: int, count: int) -> np.ndarray:
    """Which of the states 0 .. ``steps`` of an integration to keep: at most ``count``, evenly, both ends among them."""
    import numpy as np

    return np.unique(np.linspace(0, steps, count).round().astype(int))


def offline_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a loss may train on of the teacher's ODE."""
    path_argument(parser, "pairs", "the teacher's stored pairs (npz), if the loss wants them", False)
    path_argument(parser, "trajectories", "the teacher's stored trajectories (npz), if the loss wants them", False)
    path_argument(parser, "schedules", "the best steps along them (npz), if the loss wants them", False)


def failure(record: Path) -> str:
    """Why the step that wrote ``record`` failed; empty if it did not."""
    found = read_json(record)
    return found["reason"] if found["status"] == "failed" else ""


def read_config(path: Path, images: Path | None = None) -> dict[str, Any]:
    """A run's resolved JSON, with what only this machine and the data can say: records and states hold that.

    Args:
        path: the JSON.
        images: the folder given by ``--images``, for steps that generate. Where the network takes classes that are not
            equally many in the training data, their numbers are ``class_counts``.

    Returns:
        The config, with the precision that "auto" is on this machine.
    """
    config = read_json(path)
    if images and config.get("network", {}).get("classes"):
        from ttfm.data.arrays import unequal_counts

        if counts := unequal_counts(images):
            config["class_counts"] = counts
    if config.get("training", {}).get("precision") == "auto":
        from ttfm.devices import pick_device
        from ttfm.flow.precision import fastest

        config["training"]["precision"] = fastest(pick_device(config["device"]))
    return config


def write_csv(path: Path, rows: list[dict[str, Any]], columns: list[str]) -> None:
    """Write rows atomically as CSV; missing values are empty and floats are written in full precision."""
    import csv
    import io

    from ttfm.files import write_text

    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows([{key: "" if value is None else value for key, value in row.items()} for row in rows])
    write_text(path, text.getvalue())
