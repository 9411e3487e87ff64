"""A pretrained autoencoder's files: where they are looked for, and what can be said of them before any job.

Imports no torch. What is read is the layout that diffusers saves: a folder with ``config.json`` and
``diffusion_pytorch_model.safetensors``. Nothing is downloaded.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ttfm.data.finding import ENVIRONMENT
from ttfm.files import read_json
from ttfm.options import fill

Config = dict[str, Any]

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
CLASS = "AutoencoderKL"
MISSING = "latents need diffusers, which is not installed; pip install -e '.[latent]'"


class AutoencoderUnavailable(ValueError):
    """An autoencoder that is not here."""


def find(name: str, assets: str | None) -> Path:
    """The folder of an autoencoder.

    A path, relative to where the command runs or to the folder of assets or its subfolder ``weights``; of a name of the
    Hugging Face hub, as in ``stabilityai/sd-vae-ft-mse``, the last part will do there. Then the hub's cache.

    Args:
        name: path or name.
        assets: the experiment's key ``assets``; None: the environment variable ``TTFM_ASSETS``, if it is set.

    Raises:
        AutoencoderUnavailable: saying where was looked and what to do.
    """
    configured = assets or os.environ.get(ENVIRONMENT)
    places = [Path(configured), Path(configured) / "weights"] if configured else []
    tried = [
        Path(name).expanduser(),
        *(place / part for place in places for part in dict.fromkeys((name, Path(name).name))),
    ]
    found = next((path for path in tried if path.is_dir()), None) or _cached(name)
    if found is None:
        raise AutoencoderUnavailable(
            f"the autoencoder {name!r}: there is no folder {' or '.join(map(str, tried))}, and it is not in the "
            f"cache of the Hugging Face hub; put {CONFIG} and {WEIGHTS} into a folder {Path(name).name}, and name the "
            f"folder that holds it in the experiment's key assets or in {ENVIRONMENT}"
        )
    if lacking := [file for file in (CONFIG, WEIGHTS) if not (found / file).is_file()]:
        raise AutoencoderUnavailable(
            f"{found}: {' and '.join(lacking)} missing; diffusers' save_pretrained writes both, and pickled weights "
            "are not read"
        )
    return found


def _cached(name: str) -> Path | None:
    """The folder of a repository in the hub's own cache."""
    if not find_spec("huggingface_hub"):
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.utils import HFValidationError

    try:
        config, weights = (try_to_load_from_cache(name, file) for file in (CONFIG, WEIGHTS))
    except HFValidationError:
        return None
    # For a file that the repository is known not to have it returns a mark, not a path.
    return Path(config).parent if isinstance(config, str) and isinstance(weights, str) else None


def scale_and_shift(latent: Config, config: Config) -> tuple[float, float]:
    """What latents are multiplied by after a shift is taken off: the experiment's choice, else the autoencoder's own.

    Args:
        latent: the problem's entry.
        config: content of the autoencoder's ``config.json``.
    """
    scale, shift = latent["scale"], latent["shift"]
    scale = config.get("scaling_factor", 1.0) if scale is None else scale
    shift = config.get("shift_factor") if shift is None else shift
    return float(scale), float(shift or 0)


def config_faults(latent: Config, config: Config, colours: int) -> list[str]:
    """What of an autoencoder does not fit the problem, each fault a key of its entry and words.

    Args:
        latent: the problem's entry.
        config: content of the autoencoder's ``config.json``.
        colours: channels of the images.
    """
    if (kind := config.get("_class_name")) != CLASS:
        return [f"autoencoder: {latent['autoencoder']!r} is of class {kind!r}; it must be {CLASS!r}"]
    halvings = len(config["block_out_channels"]) - 1
    found = {"factor": 2**halvings, "channels": config["latent_channels"]}
    faults = [
        f"{key}: {latent[key]}, and the autoencoder has {value}" for key, value in found.items() if latent[key] != value
    ]
    taken = {config["in_channels"], config["out_channels"]}
    if taken != {colours}:
        faults.append(f"autoencoder: it takes images of {max(taken)} channels, and these have {colours}")
    if config.get("latents_mean") and None in (latent["scale"], latent["shift"]):
        faults.append("scale: the autoencoder has one for each channel, which is not supported; give scale and shift")
    return faults


def latent_faults(problem: Config, data: Config, assets: str | None, where: str) -> list[str]:
    """Every fault of a problem's latent space that can be known before any job; its files may come later.

    Args:
        problem: the problem's entry.
        data: what the registry says of its data.
        assets: the experiment's key ``assets``.
        where: key of the problem.
    """
    if (latent := problem.get("latent")) is None:
        return []
    at = f"{where}.latent"
    if data["kind"] != "images":
        return [f"{at}: {problem['data']['name']!r} are no images; leave it out"]
    if not find_spec("diffusers"):
        return [f"{at}: {MISSING}"]
    colours, height, width = data_shape(data, problem["data"])
    if not all(isinstance(side, int) for side in (colours, height, width)):
        return []
    faults = []
    if height % latent["factor"] or width % latent["factor"]:
        faults.append(f"{at}.factor: {height} x {width} images cannot be divided by {latent['factor']}")
    try:
        config = read_json(find(latent["autoencoder"], assets) / CONFIG)
    except AutoencoderUnavailable:
        # The step that encodes says so; an experiment can be planned on another machine than it runs on.
        return faults
    return faults + [f"{at}.{fault}" for fault in config_faults(latent, config, colours)]


def data_shape(data: Config, entry: Config) -> list[Any]:
    """Shape of one datum.

    Args:
        data: what the registry says of the set. A side or a number of channels may be an option of it: then its name.
        entry: the problem's entry of data, with or without that option.
    """
    options = fill(data["options"], entry)
    return [options[side] if isinstance(side, str) else side for side in data["shape"]]


def latent_shape(latent: Config, shape: list[int]) -> list[int]:
    """Shape of the latents ``[c, h, w]`` of images of ``shape`` ``[C, H, W]``."""
    return [latent["channels"], *(side // latent["factor"] for side in shape[1:])]
