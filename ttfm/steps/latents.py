"""Encode a problem's images once by a pretrained autoencoder, and keep it beside them to decode with."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ttfm.devices import pick_device
from ttfm.files import replacing, sha256
from ttfm.provenance import now
from ttfm.steps.common import config_argument, log, path_argument, progress, read_config, record_argument, write_record
from ttfm.steps.decoding import AUTOENCODER
from ttfm.steps.stored import save_tensors

if TYPE_CHECKING:
    import numpy as np

    from ttfm.data.arrays import ImageSet, Split
    from ttfm.latent.autoencoder import Autoencoder

PIECE = 64
"""Images that are encoded before their latents are written."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "images", "the folder that the images step wrote")
    path_argument(parser, "out", "the folder to write latents, autoencoder and about.json into")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the training images' latents, the autoencoder, and what it makes of the test images.

    The encoder is no mirror of itself: where training mirrors images, their mirrored twins are encoded too.
    """
    from ttfm.data.arrays import ABOUT, class_counts, read_images
    from ttfm.data.latents import RECONSTRUCTED, write_about, write_latents
    from ttfm.latent.autoencoder import load_pretrained
    from ttfm.latent.finding import WEIGHTS, find
    from ttfm.watching import watched

    started = now()
    config = read_config(arguments.config)
    device = pick_device(config["device"])
    images, latent = read_images(arguments.images), config["latent"]
    folder = find(latent["autoencoder"], config["assets"])
    # Before anything is read: what changes from here on is another.
    seen, digest = watched(folder), sha256(folder / WEIGHTS)
    if not digest.startswith((latent["sha256"] or "").lower()):
        raise ValueError(f"{folder / WEIGHTS}: expected sha256 {latent['sha256']}, found {digest}; replace the file")
    train, test = images.splits["train"], images.splits["test"]
    autoencoder = load_pretrained(folder, latent, train.images.shape[1])
    autoencoder.model.to(device)
    # Whoever reads the folder now must not take the files of two attempts for one set.
    (arguments.out / ABOUT).unlink(missing_ok=True)
    save_tensors(arguments.out / AUTOENCODER, autoencoder.model.state_dict(), {"sha256": digest})
    twins, parts = 1 + config["flips"], 2 if latent["posterior"] == "sample" else 1
    shape = (twins, len(train.images), parts, *config["shape"])
    digests = write_latents(arguments.out, _encoded(autoencoder, images, twins, parts), shape, train.labels)
    error = _reconstruct(arguments.out / RECONSTRUCTED, autoencoder, test, images.maximum)
    digests |= {name: sha256(arguments.out / name) for name in (AUTOENCODER, RECONSTRUCTED)}
    about = {"name": latent["autoencoder"], "file": WEIGHTS, "sha256": digest, "posterior": latent["posterior"]}
    about |= {"scale": autoencoder.scale, "shift": autoencoder.shift, "config": autoencoder.config}
    write_about(arguments.out, digests, class_counts(train.labels, images.classes), **about)
    log.info("%s: %d images encoded, PSNR of the test images %.2f dB", config["problem"], twins * shape[1], error)
    outcome = {"autoencoder": about, "test_psnr": error, "watched": seen}
    write_record(arguments.record, config, device, started, **outcome)


def _encoded(autoencoder: Autoencoder, images: ImageSet, twins: int, parts: int) -> Iterator[np.ndarray]:
    """Latents ``(B, parts, c, h, w)`` of the training images, then of the mirrored ones where there are twins."""
    import torch

    from ttfm.data.arrays import as_floats

    train = images.splits["train"].images
    starts = [(twin, start) for twin in range(twins) for start in range(0, len(train), PIECE)]
    for twin, start in progress(starts, len(starts), "latents", "batch"):
        piece = torch.from_numpy(as_floats(train[start : start + PIECE], images.maximum))
        posterior = autoencoder.encode(piece.flip(-1) if twin else piece)
        yield torch.stack(posterior[:parts], dim=1).numpy()


def _reconstruct(target: Path, autoencoder: Autoencoder, test: Split, maximum: int) -> float:
    """Write the test images as the autoencoder has them; returns their mean peak signal-to-noise ratio in dB."""
    import numpy as np
    import torch

    from ttfm.data.arrays import as_floats
    from ttfm.evaluation.paired import psnr
    from ttfm.evaluation.quantisation import full_range, quantise

    ratios = 0.0
    with replacing(target) as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", np.uint8, test.images.shape)
        for start in range(0, len(array), PIECE):
            piece = test.images[start : start + PIECE]
            mean, _ = autoencoder.encode(torch.from_numpy(as_floats(piece, maximum)))
            array[start : start + PIECE] = quantise(autoencoder.decode(mean)).numpy()
            ratios += len(piece) * psnr(array[start : start + PIECE], full_range(piece, maximum))
        array.flush()
        del array
    return ratios / len(test.images)
