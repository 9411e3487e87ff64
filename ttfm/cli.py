"""The command line: every step of an experiment runs by itself as ``python -m ttfm <step>``."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ttfm.devices import take_gpus
from ttfm.exits import GOES_ON, TRY_AGAIN, InterruptedTrainingError
from ttfm.files import DamagedResult, set_aside
from ttfm.provenance import source

STEPS = {
    "describe": "write what experiments can name (losses, networks, data, options) as JSON",
    "networks": "print the networks that have a name, with their parameters and the cost of an evaluation",
    "check": "build every network and loss of a plan once, to find impossible combinations of options",
    "plan": "check an experiment and write the resolved configuration of every run",
    "images": "read a problem's set of images, from a folder or by download, and write it as arrays of bytes",
    "latents": "encode a problem's images once by a pretrained autoencoder, in whose latents flows are then learned",
    "data": "write the reference and floor sets of a problem of points",
    "classifier": "train the digit classifier whose features the Fréchet distance compares",
    "weights": "find the weights of a network that scores images in a folder, torch hub's cache or by download",
    "reference": "take statistics and features of a problem's real images by one network",
    "teacher": "train a problem's teacher, or fit the students' common start to a closed-form one",
    "solution": "integrate the teacher's fine ODE from the fixed evaluation noise",
    "trajectories": "store trajectories of the teacher's ODE for the losses that train on them",
    "pairs": "keep the ends of these trajectories for the losses that train on pairs of noise and sample",
    "schedules": "find the best few steps along these trajectories",
    "student": "train one student",
    "timing": "time a training step of every loss of a problem beside one of flow matching",
    "evaluate": "sample one student of points at every budget and score it",
    "baselines": "score the floor, the teacher's fine ODE and its k Euler steps, of points",
    "sample": "sample one student of images at every budget, and describe its flow",
    "sample-baselines": "sample the teacher of images by its fine ODE and k Euler steps",
    "features": "take features of generated images by one network",
    "neighbours": "look up generated images among the training images, to find copies",
    "score": "score generated images from files of images, features and references",
    "collect": "gather the metrics, costs, times, snapshots and curves of all runs into a table each",
    "tables": "write the summary tables",
    "figures": "draw the figures",
    "report": "build the HTML page",
    "publish": "copy an experiment's small tables and figures, with their provenance, to where they are kept",
}


TRAININGS = ("teacher", "student")
RANKS = "TTFM_RANKS"
"""Environment variable with the number of processes, or GPUs, that train one network together."""
UNRECORDED = ("describe", "networks", "check", "plan", "publish")
"""Steps that leave no record of what made their output."""
HOST_IS_FULL = ("can't allocate memory", "Cannot allocate memory", "std::bad_alloc")
GPU_IS_FULL = ("CUDA error: out of memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED")


def parser(step: str | None = None) -> argparse.ArgumentParser:
    """The argument parser; only ``step``'s own module is imported to describe its arguments."""
    root = argparse.ArgumentParser(
        prog="python -m ttfm", description="Benchmark of few-step flow models, step by step."
    )
    commands = root.add_subparsers(dest="step", metavar="<step>", required=True)
    for name, summary in STEPS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == step:
            module = importlib.import_module(f"ttfm.steps.{name.replace('-', '_')}")
            module.add_arguments(command)
            command.set_defaults(run_all=getattr(module, "run_all", None) or _one_by_one(module.run))
    return root


def _one_by_one(run: Callable[[argparse.Namespace], None]) -> Callable[[list[argparse.Namespace]], None]:
    """What does several runs one after another, and imports libraries once."""

    def run_all(runs: list[argparse.Namespace]) -> None:
        for each in runs:
            run(each)

    return run_all


def separate(options: argparse.Namespace) -> list[argparse.Namespace]:
    """The arguments of each run, where paths were given for several.

    Raises:
        ValueError: naming the argument that has more than one path but not one for each run.
    """
    paths = {key: value for key, value in vars(options).items() if isinstance(value, list) and value}
    paths = {key: value for key, value in paths.items() if isinstance(value[0], Path)}
    count = max((len(value) for value in paths.values()), default=1)
    for key, value in paths.items():
        if len(value) not in (1, count):
            raise ValueError(
                f"--{key.replace('_', '-')}: {len(value)} paths for {count} runs; give one, or one for each"
            )
    return [
        argparse.Namespace(**vars(options) | {key: value[run % len(value)] for key, value in paths.items()})
        for run in range(count)
    ]


def main(arguments: list[str] | None = None) -> None:
    """Run one step; a mistake of the user ends in one message and exit status 1, not a traceback.

    A training that was interrupted and kept its state ends with exit status 75: the same command goes on with it.

    An argument for a path takes several of them, one for each of as many runs, which this process takes care of; a path
    given once is every run's. They come one after another, unless the step knows better (``run_all``).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    step = next((a for a in arguments if a in STEPS), None)
    root = parser(step)
    options = root.parse_args(arguments)
    try:
        runs = separate(options)
    except ValueError as error:
        root.error(str(error))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, force=True
    )
    if step not in UNRECORDED:
        # The code that runs is the one that is there now, not the one that is there when the record is written.
        source()
    if step in TRAININGS:
        _start_ranks(arguments)
    try:
        with _tidy_end(goes_on=step in TRAININGS and all(run.state for run in runs)):
            options.run_all(runs)
    except InterruptedTrainingError as error:
        logging.warning("%s", error)
        raise SystemExit(TRY_AGAIN) from None
    except DamagedResult as error:
        _stop(f"{error}; {set_aside(error.path)}")
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if where := _exhausted(error):
            configs = list(dict.fromkeys(str(run.config) for run in runs if hasattr(run, "config")))
            _stop(_too_small(where, str(step), configs, error))
        if not isinstance(error, ValueError | OSError):
            raise
        _stop(str(error))


@contextmanager
def _tidy_end(goes_on: bool) -> Iterator[None]:
    """Let SIGTERM end the process as an error would, so that what it has begun to write is removed.

    A training with a place for its state knows better what to do, as long as it trains; before and after, SIGTERM and
    SIGUSR1 end it as one that goes on when it is tried again.

    Args:
        goes_on: whether the process is such a training.
    """
    if threading.current_thread() is not threading.main_thread():
        # Signals are the main thread's.
        yield
        return
    told = (signal.SIGTERM, signal.SIGUSR1) if goes_on else (signal.SIGTERM,)
    before = {number: signal.signal(number, _interrupted if goes_on else _terminated) for number in told}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    # No error: code that is at work, a library's own too, may catch those.
    name = signal.Signals(number).name
    logging.warning("stopped by %s before or after its training; what state there was is kept, and %s", name, GOES_ON)
    raise SystemExit(TRY_AGAIN)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    logging.warning("told to stop by %s", signal.Signals(number).name)
    # As shells have it for processes that end by a signal.
    raise SystemExit(128 + number)


def _too_small(where: str, step: str, configs: Sequence[str], error: Exception) -> str:
    """What to do where memory did not suffice."""
    todo = ["give it the device alone (fewer --cores, or --resources gpu=1)", "take a device with more memory"]
    if step in TRAININGS:
        todo.append(
            "raise `parts` in the problem's `training` or `teacher`, so that a batch is computed in pieces (the"
            " training begins anew)"
        )
    of = f" of {', '.join(configs)}" if configs else ""
    return (
        f"out of memory on the {where} in the step {step!r}{of} ({_first_line(error)}): {'; '.join(todo)}; or choose a"
        " smaller `network`. Finished jobs are kept, and the same command goes on"
    )


def _start_ranks(arguments: list[str]) -> None:
    """Become torchrun with as many ranks as :data:`RANKS` says, each of which runs the step; nothing for one."""
    text = os.environ.get(RANKS, "1")
    if not text.isdigit() or int(text) < 1:
        _stop(f"environment variable {RANKS}: {text!r} is not a number of ranks, 1 or more")
    if int(text) > 1 and "LOCAL_RANK" not in os.environ:
        # Each rank has a core of its own; a workflow counts the cores of all of them as this step's.
        os.environ["OMP_NUM_THREADS"] = "1"
        try:
            take_gpus(int(text))
        except ValueError as error:
            _stop(str(error))
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={text}"]
        # All that a training keeps its state on.
        launcher.append("--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1")
        os.execv(sys.executable, [*launcher, "-m", "ttfm", *arguments])


def _stop(message: str) -> NoReturn:
    logging.error("%s", message)
    logging.debug("where it happened", exc_info=True)
    raise SystemExit(1) from None


def _exhausted(error: Exception) -> str:
    """The device whose memory an error says did not suffice; empty for another error."""
    # Torch's own class, which this module does not import torch for; and what its libraries say by themselves.
    if type(error).__name__ == "OutOfMemoryError" or any(words in str(error) for words in GPU_IS_FULL):
        return "GPU"
    return "host" if isinstance(error, MemoryError) or any(words in str(error) for words in HOST_IS_FULL) else ""


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
