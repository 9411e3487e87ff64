"""What the teacher and the student step share: run a trainer, show progress, write weights, curve and record."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttfm.files import sha256
from ttfm.steps.common import log, path_argument, write_csv, write_record
from ttfm.steps.keeping import Keeper, keeping_arguments
from ttfm.steps.sole import sole
from ttfm.steps.stored import save_tensors, save_weights

if TYPE_CHECKING:
    import torch

    from ttfm.training.states import State
    from ttfm.training.trainer import Trainer


NOTHING_BEFORE: dict[str, float] = {"iterations": 0, "seconds": 0.0}


def output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the files that a training writes."""
    path_argument(parser, "weights", "where to write the weights of the evaluation EMA (safetensors)")
    path_argument(parser, "curve", "where to write the training curve (CSV)")
    path_argument(parser, "record", "where to write the record (JSON): outcome, cost and provenance")
    path_argument(parser, "snapshots", "where to write weights kept on the way (safetensors)", required=False)
    path_argument(parser, "averages", "where to write all averages, if there are several (safetensors)", required=False)
    path_argument(parser, "tensorboard", "folder for TensorBoard event files; none without it", required=False)
    keeping_arguments(parser)


def run_training(
    trainer: Trainer,
    config: dict[str, Any],
    device: str,
    started: str,
    outputs: argparse.Namespace,
    before: dict[str, float] | None = None,
    limit: float | None = None,
) -> None:
    """Train to the end or to the first non-finite term, and write the files either way; alone with them.

    A diverged run is a result: its record says "failed" and why, its weights are those of the evaluation EMA when it
    was stopped, and the rest of the experiment goes on. A state of the same training that was kept when it was
    interrupted is where it goes on from. ``before`` holds the iterations and seconds of the students
    that it goes on from. A final map error above ``limit`` is a divergence too, if a finite one.

    Raises:
        InterruptedTrainingError: if it was told to stop; its state is kept and nothing else is written.
    """
    folder = getattr(outputs, "state", None)
    with sole(folder) if folder and trainer.ranks.rank == 0 else nullcontext():
        _run(trainer, config, device, started, outputs, before or dict(NOTHING_BEFORE), limit)


def _run(
    trainer: Trainer,
    config: dict[str, Any],
    device: str,
    started: str,
    outputs: argparse.Namespace,
    before: dict[str, float],
    limit: float | None,
) -> None:
    """What :func:`run_training` does while it is alone."""
    from contextlib import ExitStack

    from tqdm import tqdm

    from ttfm.networks.cost import parameter_count
    from ttfm.steps.tensorboard import event_files, folder_of
    from ttfm.training.trainer import NonFiniteError

    options = trainer.options
    label = "/".join(str(config[key]) for key in ("problem", "student", "seed") if key in config)
    rows: list[dict[str, float]] = []
    kept: dict[str, torch.Tensor] = {}
    seconds: dict[str, str] = {}
    resumed: list[int] = []
    status, reason, done = "ok", "", 0

    def state() -> State:
        """The trainer's state with what is kept here."""
        found = trainer.state()
        found.tensors.update({f"kept/{name}": value for name, value in kept.items()})
        found.numbers.update(rows=rows, kept=seconds, resumed=resumed)
        return found

    log.info("%s: %s, %d iterations of batch %d on %s", label, trainer.loss, options.iterations, options.batch, device)
    with ExitStack() as stack:
        first = trainer.ranks.rank == 0
        # disable=None: no bar where the output is not a terminal.
        quiet = None if first else True
        bar = stack.enter_context(
            tqdm(total=options.iterations, desc=label, unit="step", disable=quiet, mininterval=0.5)
        )
        keeper = stack.enter_context(Keeper(outputs, config, device, trainer.ranks))
        if earlier := keeper.newest():
            trainer.restore(earlier)
            rows, seconds = earlier.numbers["rows"], earlier.numbers["kept"]
            kept = {n.removeprefix("kept/"): v for n, v in earlier.tensors.items() if n.startswith("kept/")}
            resumed, done = [*earlier.numbers["resumed"], earlier.step], earlier.step
            bar.update(done)
            log.info("%s: goes on from step %d", label, done)
        folder = folder_of(outputs.tensorboard, config) if first else None
        events = stack.enter_context(event_files(folder, done))
        try:
            for progress in trainer.run():
                done = progress.step
                bar.update()
                if done in options.snapshots:
                    kept |= {f"{done}/{n}": v.clone() for n, v in trainer.evaluation.network.state_dict().items()}
                    seconds[str(done)] = f"{trainer.seconds:.3f}"
                if progress.row:
                    speed = _speed(progress.row, rows[-1] if rows else {}, options.batch, config["kind"], device)
                    rows.append(progress.row)
                    bar.set_postfix({"loss": f"{progress.row['loss']:.3g}"} | speed, refresh=False)
                    for name, value in progress.row.items():
                        if name != "step":
                            events.add_scalar(name, value, done)
                    if "map_error" in progress.row or done == options.iterations:
                        shown = "  ".join(f"{k} {v:.4g}" for k, v in progress.row.items() if k != "step")
                        shown += "".join(f"  {k} {v}" for k, v in speed.items())
                        log.info("%s: step %d  %s", label, done, shown)
                if done < options.iterations:
                    keeper.after_step(state)
        except NonFiniteError as error:
            # A GPU had gone on; what came after the fault is no training.
            status, reason, done = "failed", str(error), error.step - 1
            log.error("%s: %s", label, reason)
    final = rows[-1].get("map_error", 0.0) if rows else 0.0
    if status == "ok" and limit is not None and final > limit:
        status, reason = "failed", f"diverged: map error {final:.3g} at the end of training (seed {config['seed']})"
        log.error("%s: %s", label, reason)
    if not first:
        # What the first rank writes would be the same.
        return
    save_weights(Path(outputs.weights), trainer.evaluation.network, {"problem": config["problem"], "status": status})
    if outputs.snapshots:
        save_tensors(outputs.snapshots, kept, {"status": status} | seconds)
    if outputs.averages:
        others = trainer.averages if len(trainer.averages) > 1 else {}
        states = {value: average.network.state_dict() for value, average in others.items()}
        save_tensors(
            outputs.averages,
            {f"{value}/{name}": tensor for value, state in states.items() for name, tensor in state.items()},
            {"status": status, "profile": options.ema_profile},
        )
    columns = ["step", "seconds", "loss", *trainer.terms, "map_error"]
    write_csv(outputs.curve, rows, columns)
    outcome = {
        "status": status,
        "reason": reason,
        "iterations": done,
        "batch": options.batch,
        "parameters": parameter_count(trainer.network),
        "sha256": sha256(outputs.weights),
        "seconds": round(trainer.seconds, 3),
        "seconds_per_step": round(trainer.seconds / done, 6) if done else None,
        "calls": trainer.calls,
        "resumed": resumed,
        "before": before,
        "snapshots_sha256": sha256(outputs.snapshots) if outputs.snapshots else None,
        "averages_sha256": sha256(outputs.averages) if outputs.averages else None,
        "loss": {
            "uses_jvp": trainer.loss.uses_jvp,
            "target_decay": trainer.loss.target_decay,
            "stages": trainer.loss.stages,
            "offline": trainer.loss.offline,
        },
    }
    write_record(outputs.record, config, device, started, **outcome)
    keeper.clear()
    log.info("%s: %s after %d steps, %.1f s", label, status, done, trainer.seconds)


def _speed(row: dict[str, float], before: dict[str, float], batch: int, unit: str, device: str) -> dict[str, str]:
    """What the progress bar and the log say beside the loss: samples per second since the last row, and peak memory."""
    from ttfm.provenance import peak_memory_mb

    shown = {}
    if (seconds := row["seconds"] - before.get("seconds", 0)) > 0:
        shown[f"{unit}/s"] = f"{(row['step'] - before.get('step', 0)) * batch / seconds:,.0f}"
    return shown | {"memory": f"{peak_memory_mb(device) / 2**10:.1f} GiB"}


def no_training(config: dict[str, Any], device: str, started: str, outputs: argparse.Namespace, reason: str) -> None:
    """Write the files of a run that could not begin, because what it starts from failed: no weights and no curve."""
    log.error("%s", reason)
    for path in filter(None, (outputs.weights, outputs.snapshots, outputs.averages)):
        save_tensors(path, {}, {"status": "failed"})
    write_csv(outputs.curve, [], ["step", "seconds", "loss"])
    outcome = {"status": "failed", "reason": reason, "iterations": 0, "batch": config["training"]["batch"]}
    outcome |= {"parameters": None, "sha256": sha256(outputs.weights), "seconds": None, "seconds_per_step": None}
    write_record(outputs.record, config, device, started, **outcome, calls={}, before=dict(NOTHING_BEFORE))
