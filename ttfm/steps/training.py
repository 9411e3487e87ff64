"""What the teacher and the student step share: run a trainer, show progress, write weights, curve and record."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttfm.files import sha256
from ttfm.steps.common import log, path_argument, save_tensors, save_weights, write_csv, write_record

if TYPE_CHECKING:
    import torch

    from ttfm.training.trainer import Trainer


NOTHING_BEFORE: dict[str, float] = {"iterations": 0, "seconds": 0.0}


def output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the files that a training writes."""
    path_argument(parser, "weights", "where to write the weights of the evaluation EMA (safetensors)")
    path_argument(parser, "curve", "where to write the training curve (CSV)")
    path_argument(parser, "record", "where to write the record (JSON): outcome, cost and provenance")
    path_argument(parser, "snapshots", "where to write weights kept on the way (safetensors)", required=False)


def run_training(
    trainer: Trainer,
    config: dict[str, Any],
    device: str,
    started: str,
    outputs: argparse.Namespace,
    before: dict[str, float] | None = None,
    limit: float | None = None,
) -> None:
    """Train to the end or to the first non-finite term; write the files either way.

    A diverged run is a result: its record says "failed" and why, its weights are those of the evaluation EMA when it
    was stopped, and the rest of the experiment goes on. ``before`` holds the iterations and seconds of the students
    that it goes on from. A final map error above ``limit`` is a divergence too, if a finite one.
    """
    from tqdm import tqdm

    from ttfm.training.trainer import NonFiniteError, parameter_count

    options = trainer.options
    label = "/".join(str(config[key]) for key in ("problem", "student", "seed") if key in config)
    rows: list[dict[str, float]] = []
    kept: dict[str, torch.Tensor] = {}
    seconds: dict[str, str] = {}
    status, reason, done = "ok", "", 0
    log.info("%s: %s, %d iterations of batch %d on %s", label, trainer.loss, options.iterations, options.batch, device)
    # disable=None: no bar where the output is not a terminal.
    with tqdm(total=options.iterations, desc=label, unit="step", disable=None, mininterval=0.5) as bar:
        try:
            for progress in trainer.run():
                done = progress.step
                bar.update()
                if done in options.snapshots:
                    kept |= {f"{done}/{n}": v.clone() for n, v in trainer.evaluation.network.state_dict().items()}
                    seconds[str(done)] = f"{trainer.seconds:.3f}"
                if progress.row:
                    rows.append(progress.row)
                    bar.set_postfix({"loss": f"{progress.row['loss']:.3g}"}, refresh=False)
                    if "map_error" in progress.row or done == options.iterations:
                        shown = "  ".join(f"{k} {v:.4g}" for k, v in progress.row.items() if k != "step")
                        log.info("%s: step %d  %s", label, done, shown)
        except NonFiniteError as error:
            status, reason = "failed", str(error)
            log.error("%s: %s", label, reason)
    final = rows[-1].get("map_error", 0.0) if rows else 0.0
    if status == "ok" and limit is not None and final > limit:
        status, reason = "failed", f"diverged: map error {final:.3g} at the end of training (seed {config['seed']})"
        log.error("%s: %s", label, reason)
    save_weights(Path(outputs.weights), trainer.evaluation.network, {"problem": config["problem"], "status": status})
    if outputs.snapshots:
        save_tensors(outputs.snapshots, kept, {"status": status} | seconds)
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
        "before": before or dict(NOTHING_BEFORE),
        "snapshots_sha256": sha256(outputs.snapshots) if outputs.snapshots else None,
        "loss": {
            "uses_jvp": trainer.loss.uses_jvp,
            "target_decay": trainer.loss.target_decay,
            "stages": trainer.loss.stages,
            "offline": trainer.loss.offline,
        },
    }
    write_record(outputs.record, config, device, started, **outcome)
    log.info("%s: %s after %d steps, %.1f s", label, status, done, trainer.seconds)


def no_training(config: dict[str, Any], device: str, started: str, outputs: argparse.Namespace, reason: str) -> None:
    """Write the files of a run that could not begin, because what it starts from failed: no weights and no curve."""
    log.error("%s", reason)
    for path in filter(None, (outputs.weights, outputs.snapshots)):
        save_tensors(path, {}, {"status": "failed"})
    write_csv(outputs.curve, [], ["step", "seconds", "loss"])
    outcome = {"status": "failed", "reason": reason, "iterations": 0, "batch": config["training"]["batch"]}
    outcome |= {"parameters": None, "sha256": sha256(outputs.weights), "seconds": None, "seconds_per_step": None}
    write_record(outputs.record, config, device, started, **outcome, calls={}, before=dict(NOTHING_BEFORE))
