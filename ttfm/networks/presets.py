"""Networks by name: their sizes, as options that an experiment's ``preset`` stands for. Imports no torch."""

from __future__ import annotations

from typing import Any

# Those of Ho et al. (arXiv 2006.11239) on CIFAR-10, which flow-matching codes kept (Tong et al., arXiv 2302.00482),
# and of DDPM++ in EDM (Karras et al., arXiv 2206.00364), with time embeddings four times as wide as the first level.
_UNET: dict[str, Any] = {"channels": 128, "multipliers": [1, 2, 2, 2], "blocks": 2, "patch": 1}
_UNET |= {"embedding": 512, "groups": 32, "attention": [16], "heads": 4}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "unet": {
        "S": _UNET | {"channels": 64, "embedding": 256},
        "cifar10-35m": _UNET,
        "cifar10-55m": _UNET | {"multipliers": [2, 2, 2], "blocks": 4},
        # The sizes by letter, as those of the DiT.
        "B": _UNET,
        "L": _UNET | {"multipliers": [2, 2, 2], "blocks": 4},
    },
    # Peebles & Xie, arXiv 2212.09748, table 1; the patch is the experiment's choice.
    "dit": {
        "S": {"width": 384, "depth": 12, "heads": 6},
        "B": {"width": 768, "depth": 12, "heads": 12},
        "L": {"width": 1024, "depth": 24, "heads": 16},
    },
}
"""Options by network and preset; what a preset does not name has the network's default."""


def with_preset(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of network ``name`` with those of its ``preset`` filled in; options given explicitly win."""
    given = {key: value for key, value in options.items() if key != "preset"}
    return PRESETS[name][options["preset"]] | given if "preset" in options else given
