"""ttfm: a reproducible benchmark of few-step (two-timed) flow models.

Importing the package is cheap on purpose: torch is imported by the rooms that compute, never here, so that the
command line's help and the planning of a workflow stay fast.
"""

__version__ = "0.1.0"
