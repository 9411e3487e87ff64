"""What the teacher and the student step share: run a trainer, show progress, write weights, curve and record."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttfm.files import sha256
from ttfm.steps.common import log, path_argument, write_csv, write_record
from ttfm.steps.keeping import Keeper, keeping_arguments
from ttfm.steps.sole import sole
from ttfm.steps.stored import save_tensors, save_weights

if TYPE_CHECKING:
    from contextlib import ExitStack

    import torch
    from tqdm import tqdm

    from ttfm.training.states import State
    from ttfm.training.together import Together
    from ttfm.training.trainer import NonFiniteError, Progress, Trainer


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


@dataclass
class Training:
    """One training and what is known of it before it begins.

    Attributes:
        trainer: the trainer.
        config: the resolved config.
        outputs: the arguments, with the files that it writes.
        before: iterations and seconds of the students that it goes on from.
        limit: a final map error above it is a divergence, if a finite one; None for no limit.
    """

    trainer: Trainer
    config: dict[str, Any]
    outputs: argparse.Namespace
    before: dict[str, float] = field(default_factory=lambda: dict(NOTHING_BEFORE))
    limit: float | None = None


def run_training(trainings: Sequence[Training], device: str, started: str) -> None:
    """Train to the end or to the first non-finite term, and write the files either way; alone with them.

    A diverged run is a result: its record says "failed" and why, its weights are those of the evaluation EMA when it
    was stopped, and the rest of the experiment goes on. A state of the same training that was kept when it was
    interrupted is where it goes on from. Several trainings are computed at once where that gives the same numbers.

    Raises:
        InterruptedTrainingError: if it was told to stop; its state is kept and nothing else is written.
    """
    from contextlib import ExitStack

    with ExitStack() as stack:
        for training in trainings:
            folder = getattr(training.outputs, "state", None)
            if folder and training.trainer.ranks.rank == 0:
                stack.enter_context(sole(folder))
        _run([_Run(training, device, started) for training in trainings], device)


def _run(runs: list[_Run], device: str) -> None:
    """What :func:`run_training` does while it is alone."""
    from contextlib import ExitStack

    from tqdm import tqdm

    from ttfm.training.together import together
    from ttfm.training.trainer import NonFiniteError

    trainers = [run.trainer for run in runs]
    first = trainers[0]
    label = runs[0].label + (f" and {len(runs) - 1} seeds more" if len(runs) > 1 else "")
    with ExitStack() as stack:
        # disable=None: no bar where the output is not a terminal.
        quiet = None if first.ranks.rank == 0 else True
        total = first.options.iterations * len(runs)
        bar = stack.enter_context(tqdm(total=total, desc=label, unit="step", disable=quiet, mininterval=0.5))
        identities = [(run.outputs, run.config) for run in runs]
        keeper = stack.enter_context(Keeper(identities, device, first.ranks))
        for run, state in zip(runs, keeper.newest(), strict=True):
            run.begin(stack, state)
            bar.update(run.done)
        states = lambda: [run.state() for run in runs]  # noqa: E731
        over = all(run.status != "ok" or run.done == run.trainer.options.iterations for run in runs)
        several = None if over else _together(runs, together)
        for run in runs if not over else ():
            run.together = len(runs) if several else 1
        if several:
            for found in several.run():
                for run, progress in zip(runs, found, strict=True):
                    run.see(progress, bar)
                if first.step < first.options.iterations:
                    keeper.after_step(states)
                if any(run.status != "ok" for run in runs):
                    break
        for run in runs:
            run.alone = True
        for run in runs:
            try:
                for progress in run.trainer.run() if run.status == "ok" else ():
                    run.see(progress, bar)
                    if run.done < run.trainer.options.iterations:
                        keeper.after_step(states)
                    if run.status != "ok":
                        break
            except NonFiniteError as error:
                run.fail(error)
        # Kept until what is written now is made use of: who started this process may be dead, and the same command
        # then takes the files for those of an unfinished job.
        if not over:
            keeper.keep(states)
        for run in runs:
            run.finish()


def _together(runs: list[_Run], together: Callable[..., Together | None]) -> Together | None:
    """The trainings at once, if they go together; one that goes on from a state goes on as it was.

    Raises:
        RuntimeError: if they went together before and do not now: alone they would get other numbers.
    """
    if any(run.status != "ok" for run in runs) or any(run.alone for run in runs):
        return None
    resumed = any(run.resumed for run in runs)
    several = together([run.trainer for run in runs], tried=resumed)
    if several is None and resumed:
        raise RuntimeError(
            f"{runs[0].label} and its {len(runs) - 1} other seeds were trained together until step {runs[0].done} and"
            " cannot go on so; the log says why. Remove their folders `state` to train anew"
        )
    return several


class _Run:
    """A training on its way: what it has reported and kept so far.

    Args:
        training: the training.
        device: where it trains.
        started: when the step began.
    """

    def __init__(self, training: Training, device: str, started: str):
        self.training, self.device, self.started = training, device, started
        self.trainer, self.config, self.outputs = training.trainer, training.config, training.outputs
        self.label = "/".join(str(self.config[key]) for key in ("problem", "student", "seed") if key in self.config)
        self.rows: list[dict[str, float]] = []
        self.kept: dict[str, torch.Tensor] = {}
        self.seconds: dict[str, str] = {}
        self.resumed: list[int] = []
        self.status, self.reason, self.done, self.together = "ok", "", 0, 1
        self.alone = False
        """Whether it is decided that this training goes on by itself."""

    def begin(self, stack: ExitStack, state: State | None) -> None:
        """Go on from a state, if there is one; event files are open until the stack is left."""
        from ttfm.steps.tensorboard import event_files, folder_of

        options = self.trainer.options
        about = (self.label, self.trainer.loss, options.iterations, options.batch, self.device)
        log.info("%s: %s, %d iterations of batch %d on %s", *about)
        if state:
            self.trainer.restore(state)
            self.rows, self.seconds = state.numbers["rows"], state.numbers["kept"]
            self.kept = {n.removeprefix("kept/"): v for n, v in state.tensors.items() if n.startswith("kept/")}
            # One of several that had failed waits for the others.
            self.status, self.reason, self.done = (state.numbers[name] for name in ("status", "reason", "done"))
            self.together, self.alone = state.numbers["together"], state.numbers["alone"]
            self.resumed = [*state.numbers["resumed"], state.step]
            log.info("%s: goes on from step %d", self.label, self.done)
        folder = folder_of(self.outputs.tensorboard, self.config) if self.trainer.ranks.rank == 0 else None
        self.events = stack.enter_context(event_files(folder, self.done))

    def state(self) -> State:
        """The trainer's state with what is kept here: a GPU is asked now whether all steps so far were finite."""
        from ttfm.training.trainer import NonFiniteError

        try:
            self.trainer.meter.look()
        except NonFiniteError as error:
            self.fail(error)
        found = self.trainer.state()
        found.tensors.update({f"kept/{name}": value for name, value in self.kept.items()})
        found.numbers.update(rows=self.rows, kept=self.seconds, resumed=self.resumed)
        found.numbers.update(status=self.status, reason=self.reason, done=self.done)
        found.numbers.update(together=self.together, alone=self.alone)
        return found

    def see(self, progress: Progress | NonFiniteError, bar: tqdm[Any]) -> None:
        """Take note of a step, or of why there was none."""
        if not hasattr(progress, "row"):
            self.fail(progress)
            return
        options = self.trainer.options
        self.done = progress.step
        bar.update()
        if self.done in options.snapshots:
            weights = self.trainer.evaluation.network.state_dict()
            self.kept |= {f"{self.done}/{name}": value.clone() for name, value in weights.items()}
            self.seconds[str(self.done)] = f"{self.trainer.seconds:.3f}"
        if row := progress.row:
            speed = _speed(row, self.rows[-1] if self.rows else {}, options.batch, self.config["kind"], self.device)
            self.rows.append(row)
            bar.set_postfix({"loss": f"{row['loss']:.3g}"} | speed, refresh=False)
            for name, value in row.items():
                if name != "step":
                    self.events.add_scalar(name, value, self.done)
            if "map_error" in row or self.done == options.iterations:
                shown = "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k != "step")
                shown += "".join(f"  {k} {v}" for k, v in speed.items())
                log.info("%s: step %d  %s", self.label, self.done, shown)

    def fail(self, error: NonFiniteError) -> None:
        """Take note of the end of a training."""
        # A GPU had gone on; what came after the fault is no training.
        self.status, self.reason, self.done = "failed", str(error), error.step - 1
        log.error("%s: %s", self.label, self.reason)

    def finish(self) -> None:
        """Write weights, curve and record."""
        limit, config, trainer, outputs = self.training.limit, self.config, self.trainer, self.outputs
        final = self.rows[-1].get("map_error", 0.0) if self.rows else 0.0
        if self.status == "ok" and limit is not None and final > limit:
            self.status = "failed"
            self.reason = f"diverged: map error {final:.3g} at the end of training (seed {config['seed']})"
            log.error("%s: %s", self.label, self.reason)
        if trainer.ranks.rank:
            # What the first rank writes would be the same.
            return
        about = {"problem": config["problem"], "status": self.status}
        save_weights(Path(outputs.weights), trainer.evaluation.network, about)
        if outputs.snapshots:
            save_tensors(outputs.snapshots, self.kept, {"status": self.status} | self.seconds)
        if outputs.averages:
            others = trainer.averages if len(trainer.averages) > 1 else {}
            states = {value: average.network.state_dict() for value, average in others.items()}
            save_tensors(
                outputs.averages,
                {f"{value}/{name}": tensor for value, state in states.items() for name, tensor in state.items()},
                {"status": self.status, "profile": trainer.options.ema_profile},
            )
        write_csv(outputs.curve, self.rows, ["step", "seconds", "loss", *trainer.terms, "map_error"])
        write_record(outputs.record, config, self.device, self.started, **self._outcome())
        log.info("%s: %s after %d steps, %.1f s", self.label, self.status, self.done, trainer.seconds)

    def _outcome(self) -> dict[str, Any]:
        """What the record says beside the provenance."""
        from ttfm.networks.cost import parameter_count

        trainer, outputs, done = self.trainer, self.outputs, self.done
        return {
            "status": self.status,
            "reason": self.reason,
            "iterations": done,
            "batch": trainer.options.batch,
            "parameters": parameter_count(trainer.network),
            "sha256": sha256(outputs.weights),
            "seconds": round(trainer.seconds, 3),
            "seconds_per_step": round(trainer.seconds / done, 6) if done else None,
            "calls": trainer.calls,
            # Of seeds that were computed at once, each has its share of the seconds.
            "together": self.together,
            "resumed": self.resumed,
            "best": _best(self.rows),
            "before": self.training.before,
            "snapshots_sha256": sha256(outputs.snapshots) if outputs.snapshots else None,
            "averages_sha256": sha256(outputs.averages) if outputs.averages else None,
            "loss": {
                "uses_jvp": trainer.loss.uses_jvp,
                "target_decay": trainer.loss.target_decay,
                "stages": trainer.loss.stages,
                "offline": trainer.loss.offline,
            },
        }


def _best(rows: list[dict[str, float]]) -> dict[str, float] | None:
    """The step with the lowest map error so far, and that error; None where none was measured.

    Nothing is chosen by it: to score the best of a training by its error would favour losses whose errors are noisy.
    """
    found = [{"step": row["step"], "map_error": row["map_error"]} for row in rows if "map_error" in row]
    return min(found, key=lambda row: row["map_error"], default=None)


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
