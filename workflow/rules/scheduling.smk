"""What the workflow changes in Snakemake's scheduler."""

import snakemake
from snakemake.logging import logger

from ttfm.exits import GOES_ON

# Pieces that a training may come in.
PIECES = 100


def trying_again(handle):
    """Snakemake's (9.27) way to handle a failed job, but that one which was interrupted with its state kept has more tries.

    Snakemake has one number of tries for all failures of a rule's jobs. How a job ended, on whatever machine, stands in
    its log.
    """

    def handled(job, **more):
        logs = [Path(log) for log in job.log if Path(log).exists()]
        if job.is_group() or not any(GOES_ON in log.read_text(errors="replace") for log in logs):
            handle(job, **more)
            return
        times, job.rule.restart_times = job.rule.restart_times, PIECES - 1
        try:
            handle(job, **more)
        finally:
            job.rule.restart_times = times

    return handled


def without_limits(scheduler):
    """Let Snakemake's scheduler start jobs at once, and try trainings again that kept their state.

    Neither is an option of Snakemake's, so both need what its scheduler (9.27) has inside.

    Returns:
        What this version does not allow, in words; nothing where all is well.
    """
    missing = []
    # To start no more than so many jobs a second, Snakemake looks over those that are ready a second after every look,
    # and after every job that ends there is one such chain of looks more: with hundreds of jobs they take a core.
    if hasattr(scheduler, "job_rate_limiter"):
        scheduler.job_rate_limiter = None
    else:
        missing.append("with hundreds of jobs Snakemake itself may take a core")
    # A training that was told to stop, or whose time was up, has kept its state and is tried again until it is done.
    # Another failure is not.
    if hasattr(scheduler, "_handle_error"):
        scheduler._handle_error = trying_again(scheduler._handle_error)
    else:
        missing.append(
            "a training that is told to stop, or whose time is up (TTFM_TRAIN_AT_MOST), is not tried again by itself: "
            "give the same command again, and it goes on"
        )
    told = "; ".join(missing)
    return told and f"Snakemake {snakemake.__version__} lacks what this workflow changes in 9.27: {told}"
