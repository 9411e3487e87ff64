"""Training losses of two-timed flow models: one file each, one signature, one registry."""

from ttfm.losses.base import LOSSES, Batch, Loss, Variant, load_modules, register

__all__ = ["LOSSES", "Batch", "Loss", "Variant", "load_modules", "register"]
