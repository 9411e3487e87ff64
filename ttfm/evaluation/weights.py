"""Pretrained weights: found offline first, downloaded last, and checked against their sha256 every time.

Where they lie can be told without importing torch.
"""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ttfm.files import sha256

if TYPE_CHECKING:
    from torch import Tensor

ENVIRONMENT = "TTFM_ASSETS"
"""Environment variable that names the folder of weights where no folder is given."""
TIMEOUT = 15.0
"""Seconds without an answer after which a download is given up."""


class DamagedAsset(ValueError):
    """A file of weights whose content is not what its name promises."""


class AssetUnavailable(RuntimeError):
    """Weights that are neither here nor to be had."""


@dataclass(frozen=True)
class Asset:
    """Pretrained weights that exist in one or several equivalent files.

    Attributes:
        name: what to call them to a user.
        files: pairs of file name and sha256; any of the files will do. The last is the one
            that can be downloaded.
        torchvision: name of the member of torchvision's weights enum that knows where to download them.
        url: where to download them, for weights that are not torchvision's; without either there is no download.
    """

    name: str
    files: tuple[tuple[str, str], ...]
    torchvision: str = ""
    url: str = ""


SQUEEZENET = Asset(
    "SqueezeNet 1.1 (the trunk of LPIPS)",
    (
        # Rounded to half precision, with torchvision's keys.
        ("squeezenet1_1.safetensors", "df0db8c6f3fa75cd78884b2aa6f9f47ae69ee350f127dd7dd1de48c123221a06"),
        ("squeezenet1_1-b8a52dc0.pth", "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b"),
    ),
    "SqueezeNet1_1_Weights.IMAGENET1K_V1",
)
ALEXNET = Asset(
    "AlexNet (a trunk of LPIPS)",
    (("alexnet-owt-7be5be79.pth", "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"),),
    "AlexNet_Weights.IMAGENET1K_V1",
)
VGG16 = Asset(
    "VGG-16 (a trunk of LPIPS)",
    (("vgg16-397923af.pth", "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"),),
    "VGG16_Weights.IMAGENET1K_V1",
)
INCEPTION = Asset(
    "the Inception network of 2015-12-05 (that of FID)",
    (
        (
            "weights-inception-2015-12-05-6726825d.pth",
            "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        ),
    ),
    url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
)
INCEPTION_KERAS = Asset(
    "the trunk of Keras's Inception-v3",
    (
        (
            "inception_v3_keras_trunk_768.safetensors",
            "9e732a3c4e0c68261a378b218fe9b7744b51f348faa7dd802ff4ba0d51ddf997",
        ),
    ),
)
CIFAR_RESNET56 = Asset(
    "the CIFAR-10 ResNet-56",
    (("cifar10_resnet56.safetensors", "5b2e3633179c79b6e67b116265e5429f7850d5d68e6a8c1b0c6a2faa2b6156bd"),),
)
DINOV2_SMALL = Asset(
    "DINOv2 ViT-S/14",
    (("dinov2_vits14_pretrain.pth", "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),),
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
)
DINOV2_LARGE = Asset(
    "DINOv2 ViT-L/14",
    (("dinov2_vitl14_pretrain.pth", "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"),),
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
)
ASSETS = {
    "cifar-resnet56": CIFAR_RESNET56,
    "inception-keras-768": INCEPTION_KERAS,
    "inception-v3-compat": INCEPTION,
    "dinov2-vits14": DINOV2_SMALL,
    "dinov2-vitl14": DINOV2_LARGE,
    "lpips-squeeze": SQUEEZENET,
    "lpips-alex": ALEXNET,
    "lpips-vgg": VGG16,
}
"""The weights of every network of features and trunk of LPIPS that an experiment does not train."""


def places(folder: str | Path | None = None) -> list[Path]:
    """The folders to look in: the configured one and its subfolder ``weights``, then torch hub's cache."""
    configured = folder or os.environ.get(ENVIRONMENT)
    # As torch.hub.get_dir has it.
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    hub = Path(os.environ.get("TORCH_HOME") or Path(caches) / "torch").expanduser() / "hub"
    return [*([Path(configured), Path(configured) / "weights"] if configured else []), hub / "checkpoints"]


def present(asset: Asset, folder: str | Path | None = None) -> Iterator[tuple[Path, str]]:
    """The asset's files that lie in :func:`places`, unchecked, each with its sha256; the one to take comes first."""
    for place in places(folder):
        for name, digest in asset.files:
            if (place / name).is_file():
                yield place / name, digest


def find(asset: Asset, folder: str | Path | None = None) -> Path:
    """The checked file of an asset.

    Looks into ``folder`` and its subfolder ``weights``, then into torch hub's cache, then downloads into that cache.

    Args:
        asset: what to find.
        folder: the configured folder; by default the one that the environment variable ``TTFM_ASSETS`` names, if any.

    Raises:
        DamagedAsset: if the first file found has the wrong content. It is never passed over in silence.
        AssetUnavailable: saying what was tried and what to do, if there is no file and no download.
    """
    for path, digest in present(asset, folder):
        return checked(path, digest)
    name, digest = asset.files[-1]
    cache = places()[-1]
    looked = (
        f"{asset.name}: none of {' or '.join(name for name, _ in asset.files)} is in "
        f"{', '.join(map(str, places(folder)))}"
    )
    todo = f"put one of these files into a folder and name the folder in {ENVIRONMENT}"
    if not (asset.torchvision or asset.url):
        raise AssetUnavailable(f"{looked}, and there is no download; {todo}")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _download(asset, cache / name, digest)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise AssetUnavailable(f"{looked}, and the download failed ({error}); {todo}") from error
    return checked(cache / name, digest)


def load(path: Path) -> dict[str, Tensor]:
    """The float32 state dict of a ``.safetensors`` or ``.pth`` file, without executing code of the file."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        weights = load_file(path)
    else:
        import torch

        weights = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value.float() for name, value in weights.items()}


def checked(path: Path, digest: str) -> Path:
    """``path``, if its content has this sha256.

    Raises:
        DamagedAsset: naming the file and both digests, if it has another.
    """
    found = sha256(path)
    if found != digest:
        raise DamagedAsset(f"{path}: damaged: expected sha256 {digest}, found {found}; delete the file or replace it")
    return path


def _download(asset: Asset, target: Path, digest: str) -> None:
    import torch

    url = asset.url
    if not url:
        from torchvision.models import get_weight  # seconds of import that an offline find does not need

        url = get_weight(asset.torchvision).url
    # torch writes under a temporary name, checks the digest and renames only then.
    with _socket_timeout(TIMEOUT):
        torch.hub.download_url_to_file(url, str(target), hash_prefix=digest, progress=False)


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """A default timeout of all sockets, since torch's downloader passes none of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
