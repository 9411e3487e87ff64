"""Train the digit classifier whose features the Fréchet distance and KID compare."""

from __future__ import annotations

import argparse

from ttfm.files import sha256
from ttfm.provenance import now
from ttfm.steps.common import config_argument, images_argument, log, path_argument, read_config, write_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    images_argument(parser)
    path_argument(parser, "weights", "where to write the classifier's weights (safetensors)")
    path_argument(parser, "record", "where to write accuracy and provenance (JSON)")


def run(arguments: argparse.Namespace) -> None:
    """Train on the training split and report the accuracy on the test split."""
    import torch

    from ttfm.data.arrays import as_floats, read_images
    from ttfm.evaluation import classifier

    started = now()
    config = read_config(arguments.config)
    if arguments.images is None:
        raise ValueError("the digits are missing; give --images, the folder that the images step wrote")
    found = read_images(arguments.images)
    train, test = (
        (torch.from_numpy(as_floats(split.images, found.maximum)), torch.tensor(split.labels))
        for split in (found.splits["train"], found.splits["test"])
    )
    weights, training = classifier.train_classifier(*train, seed=config["seed"])
    classifier.save(arguments.weights, weights)
    accuracy = classifier.accuracy(classifier.load(arguments.weights), *test)
    log.info("digit classifier: %.2f %% of the test split", 100 * accuracy)
    outcome = {"content_sha256": sha256(arguments.weights), "training": training, "test_accuracy": accuracy}
    write_record(arguments.record, config, "cpu", started, **outcome)
