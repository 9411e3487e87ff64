"""Sample one student of images at every budget, and describe its flow; scoring reads what this writes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from ttfm.devices import pick_device
from ttfm.files import read_json, write_arrays
from ttfm.steps.columns import MAP_COLUMNS, METRIC_COLUMNS
from ttfm.steps.common import (
    config_argument,
    images_argument,
    log,
    path_argument,
    piece_size,
    read_config,
    record_argument,
    source_noise,
)
from ttfm.steps.decoding import decoder, image_shape
from ttfm.steps.keeping import spent
from ttfm.steps.scoring import Tables, completed, failed_rows, write_together
from ttfm.steps.trained import Row, Trained, student_arguments

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ttfm.evaluation.sample_sets import Piece, Set


def set_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the steps that generate images read and write."""
    config_argument(parser)
    images_argument(parser)
    path_argument(parser, "solution", "the teacher's fine ODE solution (npz)")
    path_argument(parser, "pixels", "where to write the images (npy): bytes of all sets")
    path_argument(parser, "index", "where to write what the sets are (JSON)")
    path_argument(parser, "samples", "where to write the first samples at every budget (npz)")
    path_argument(parser, "described", "where to write what the flow is like (CSV)")
    record_argument(parser)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    student_arguments(parser)
    set_arguments(parser)
    path_argument(parser, "maps", "where to write the defects over a grid of times (CSV)", required=False)


def run_all(runs: list[argparse.Namespace]) -> None:
    """Write images, their index, the first samples and rows on the flow; of a failed training, its reason."""
    from ttfm.training.states import remove

    states = spent(runs)
    write_together(runs, _run)
    remove(states)


def _run(arguments: argparse.Namespace, tables: Tables) -> None:
    from ttfm.evaluation.catalogue import names
    from ttfm.evaluation.sample_sets import Set, write_sets

    config = read_config(arguments.config, arguments.images)
    device = pick_device(config["device"])
    training = read_json(arguments.student_record)
    identity = {"student": config["student"], "loss": config["loss"], "seed": training["config"]["seed"]}
    shape = (config["evaluation"]["samples"], *image_shape(config))
    decode = decoder(config, arguments.images, device)
    kept: dict[str, torch.Tensor] = {}
    maps: list[Row] = []
    size = piece_size(config["shape"])
    if training["status"] != "ok":
        reason = training["reason"]
        sets: list[tuple[Set, Piece | None]] = [
            (Set(identity | {"steps": budget}, reason), None) for budget in config["budgets"]
        ]
        write_sets(arguments.pixels, arguments.index, sets, shape, size, 1.0)
        rows = failed_rows(config, names("images", []), config["budgets"], reason)
    else:
        student = _Student(config, arguments, device, training)
        sets = list(student.sets(identity, kept))
        scale = student.solution["x1"].double().square().mean().item()
        write_sets(arguments.pixels, arguments.index, sets, shape, size, scale, decode)
        with student.about_paths():
            rows = list(student.described(kept))
            maps = list(student.maps()) if config["maps"] else []
    shown = config["evaluation"]["shown"]
    write_arrays(arguments.samples, {name: decode(samples[:shown]).numpy() for name, samples in kept.items()})
    tables.add(arguments.described, completed(config, [identity | row for row in rows], device), METRIC_COLUMNS)
    who = {"problem": config["problem"]} | {key: identity[key] for key in ("student", "seed")}
    tables.add(arguments.maps, [who | row for row in maps], MAP_COLUMNS)


class _Student(Trained):
    """A trained student of images."""

    def sets(self, identity: Row, kept: dict[str, torch.Tensor]) -> Iterator[tuple[Set, Piece]]:
        """Every budget of the student and, where asked, of weights kept during its training and of other averages.

        The first samples of the student go into ``kept`` while they are made.
        """
        from ttfm.evaluation.sample_sets import Set

        wanted, averages = bool(self.config["snapshots"]), self.config.get("averages", [])
        final = (self.end() if wanted else {}) | ({"average": averages[0]} if averages else {})
        for budget in self.config["budgets"]:
            about = identity | {"steps": budget} | final
            yield Set(about, off_path=self.off_path(budget)), self._piece(self.model, budget, kept)
        others = [self.kept()] * wanted + [self.averaged()] * bool(averages)
        for when, model in chain(*others):
            for budget in self.config["budgets"]:
                about = identity | {"steps": budget} | when
                yield Set(about, off_path=self.off_path(budget), snapshot=True), self._piece(model, budget, {})

    def _piece(self, model: nn.Module, budget: int, kept: dict[str, torch.Tensor]) -> Piece:
        import torch

        seed, first = self.config["evaluation"]["seed"], len(self.solution["x0"])

        def make(start: int, end: int) -> torch.Tensor:
            images = self.arguments.images
            x0 = source_noise(self.config, seed, end, "evaluation-noise", images=images, start=start).to(self.device)
            samples = self.sample(model, budget, x0, start)[0][-1].cpu()
            if start < first:
                before = [kept[f"k{budget}"]] if start and f"k{budget}" in kept else []
                kept[f"k{budget}"] = torch.cat([*before, samples[: first - start]])
            if end == self.config["evaluation"]["samples"]:
                log.info("%s/%s: %d steps sampled", self.config["problem"], self.config["student"], budget)
            return samples

        return make

    def described(self, kept: dict[str, torch.Tensor]) -> Iterator[Row]:
        """What the student's flow is like."""
        from ttfm.evaluation import diagnostics, scoring

        x0, samples = self.solution["x0"], kept[f"k{min(self.config['budgets'])}"]
        cost = scoring.measured("transport_cost", diagnostics.transport_cost, x0[: len(samples)], samples)
        yield {"N": len(samples), "split": "-", "extractor": "-"} | cost
        yield from self.defects()
        yield from self.descriptions()
