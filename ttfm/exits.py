"""Ends of a step that are neither success nor mistake."""

TRY_AGAIN = 75
"""Exit status of a training that was interrupted and has kept its state (EX_TEMPFAIL of sysexits.h)."""
GOES_ON = "the same command goes on from it"
"""What such a training says last, for whoever sees no exit status of it."""


class InterruptedTrainingError(Exception):
    """A training was told to stop, or its time was up; the same command goes on with it."""
