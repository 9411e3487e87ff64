"""Keep the ends of the teacher's stored trajectories, for the losses that train on pairs of noise and sample."""

from __future__ import annotations

import argparse

from ttfm.devices import pick_device
from ttfm.files import write_arrays
from ttfm.provenance import now
from ttfm.steps.common import config_argument, failure, path_argument, read_config, record_argument, write_record
from ttfm.steps.stored import tensors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    config_argument(parser)
    path_argument(parser, "trajectories", "the teacher's stored trajectories (npz)")
    path_argument(parser, "trajectories-record", "their record (JSON)")
    path_argument(parser, "out", "where to write the arrays x0 and x1 (N, *shape) (npz)")
    record_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the noise and the sample of every trajectory; nothing where there are none, with the reason recorded."""
    started = now()
    config = read_config(arguments.config)
    reason = failure(arguments.trajectories_record)
    path = None if reason else tensors(arguments.trajectories, ("path",))["path"]
    write_arrays(arguments.out, {} if path is None else {"x0": path[0].numpy(), "x1": path[-1].numpy()})
    status = "failed" if reason else "ok"
    write_record(arguments.record, config, pick_device("cpu"), started, status=status, reason=reason)
