"""Networks by torch's compiler."""

from __future__ import annotations

import os
import shutil

from torch import nn

COMPILERS = ("g++", "c++", "clang++")


def compiled(network: nn.Module) -> nn.Module:
    """The network itself, whose calls are compiled at their first time; copies of it and its ``forward`` are not.

    Raises:
        ValueError: if it is on a CPU and there is no compiler of C++, which torch's then needs.
    """
    on_cpu = next(network.parameters()).device.type == "cpu"
    if on_cpu and not any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))):
        raise ValueError("training.compile: on a CPU torch's compiler needs one of C++; install g++ or leave it out")
    network.compile()
    return network
