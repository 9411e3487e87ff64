"""Print the networks that have a name, with their parameters and the cost of an evaluation."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The step's arguments."""
    parser.add_argument(
        "--shape", type=int, nargs=3, default=[3, 32, 32], metavar=("C", "H", "W"), help="shape of an image"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write a table to standard output."""
    import torch

    from ttfm.networks.cost import forward_flops, parameter_count, shown
    from ttfm.networks.presets import PRESETS
    from ttfm.registry import build_network

    shape = tuple(arguments.shape)
    rows = [("network", "preset", "parameters", "FLOPs per image", "options")]
    for name, presets in PRESETS.items():
        for preset, options in presets.items():
            with torch.device("meta"):
                network = build_network({"name": name} | options, shape)
            cost = shown(parameter_count(network)), shown(forward_flops(network, shape))
            rows.append((name, preset, *cost, ", ".join(f"{key} {value}" for key, value in options.items())))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
