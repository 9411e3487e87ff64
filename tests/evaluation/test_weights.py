from __future__ import annotations

import hashlib
import io
import socket
from email.message import Message
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file

from ttfm.evaluation import weights
from ttfm.evaluation.weights import SQUEEZENET, Asset, AssetUnavailable, DamagedAsset

CONTENT = b"what torchvision serves"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ASSET = Asset(
    "The test weights",
    (("test.safetensors", hashlib.sha256(b"rounded").hexdigest()), ("test-1234.pth", DIGEST)),
    SQUEEZENET.torchvision,
)


class Response(io.BytesIO):
    """The part of an HTTP response that torch's downloader uses."""

    def info(self):
        return Message()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of torch hub, no configured folder and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(weights.ENVIRONMENT, raising=False)

    def refuse(request):
        raise URLError("no network in tests")

    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    return tmp_path / "torch" / "hub" / "checkpoints"


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_folder_its_subfolder_and_the_cache_are_searched_in_this_order(tmp_path, cache):
    folder = tmp_path / "assets"
    cached = put(cache / "test-1234.pth", CONTENT)
    assert weights.find(ASSET, folder) == cached
    nested = put(folder / "weights" / "test-1234.pth", CONTENT)
    assert weights.find(ASSET, folder) == nested
    direct = put(folder / "test.safetensors", b"rounded")
    assert weights.find(ASSET, str(folder)) == direct


def test_the_environment_names_the_folder_unless_an_argument_does(tmp_path, monkeypatch):
    one, two = (put(tmp_path / name / "test-1234.pth", CONTENT) for name in ("one", "two"))
    monkeypatch.setenv("TTFM_ASSETS", str(one.parent))
    assert weights.find(ASSET) == one
    assert weights.find(ASSET, two.parent) == two


def test_weights_without_a_download_say_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "urlopen", lambda request: pytest.fail("there is nothing to ask for"))
    with pytest.raises(AssetUnavailable, match=r"and there is no download; put one of these files into a folder"):
        weights.find(Asset("Nowhere", ASSET.files), tmp_path)


def test_weights_that_are_not_torchvisions_come_from_their_address(cache, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.hub, "urlopen", lambda request: asked.append(request.full_url) or Response(CONTENT))
    elsewhere = Asset("Elsewhere", ASSET.files, url="https://example.org/test-1234.pth")
    assert weights.find(elsewhere) == cache / "test-1234.pth"
    assert asked == [elsewhere.url]


@pytest.mark.parametrize("place", ["assets", "assets/weights", "torch/hub/checkpoints"])
def test_a_damaged_file_is_an_error_with_both_digests(tmp_path, place):
    damaged = put(tmp_path / place / "test.safetensors", b"cut sho")
    put(tmp_path / "torch/hub/checkpoints/test-1234.pth", CONTENT)
    with pytest.raises(DamagedAsset) as caught:
        weights.find(ASSET, tmp_path / "assets")
    assert str(damaged) in str(caught.value)
    assert ASSET.files[0][1] in str(caught.value)
    assert hashlib.sha256(b"cut sho").hexdigest() in str(caught.value)


def test_a_missing_asset_is_explained_in_one_sentence(tmp_path, cache):
    with pytest.raises(AssetUnavailable) as caught:
        weights.find(ASSET, tmp_path / "assets")
    message = str(caught.value)
    for part in (
        "The test weights",
        "test.safetensors or test-1234.pth",
        str(tmp_path / "assets" / "weights"),
        str(cache),
        "no network in tests",
        "TTFM_ASSETS",
    ):
        assert part in message
    assert "\n" not in message
    assert list(cache.iterdir()) == []


def test_a_download_is_kept_and_timed_out_sockets_are_put_back(cache, monkeypatch):
    asked = []

    def serve(request):
        asked.append((request.full_url, socket.getdefaulttimeout()))
        return Response(CONTENT)

    monkeypatch.setattr(torch.hub, "urlopen", serve)
    found = weights.find(ASSET)
    assert found == cache / "test-1234.pth" and found.read_bytes() == CONTENT
    assert weights.find(ASSET) == found
    assert [timeout for _, timeout in asked] == [15.0]
    assert asked[0][0].endswith("squeezenet1_1-b8a52dc0.pth")
    assert socket.getdefaulttimeout() is None


def test_a_download_of_something_else_leaves_nothing(cache, monkeypatch):
    monkeypatch.setattr(torch.hub, "urlopen", lambda request: Response(b"a login page"))
    with pytest.raises(AssetUnavailable, match="invalid hash value"):
        weights.find(ASSET)
    assert list(cache.iterdir()) == []


def test_a_download_that_stalls_leaves_nothing(cache, monkeypatch):
    class Stalling(Response):
        def read(self, size=-1):
            if self.tell():
                raise TimeoutError("timed out")
            return super().read(4)

    monkeypatch.setattr(torch.hub, "urlopen", lambda request: Stalling(CONTENT))
    with pytest.raises(AssetUnavailable, match="timed out"):
        weights.find(ASSET)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_no_crash(tmp_path, monkeypatch):
    put(tmp_path / "file", b"")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(AssetUnavailable, match="Not a directory"):
        weights.find(ASSET)


@pytest.mark.parametrize("asset", [SQUEEZENET, weights.ALEXNET, weights.VGG16, weights.INCEPTION])
def test_the_digest_of_a_download_is_the_one_in_its_file_name(asset):
    from torchvision.models import get_weight

    name, digest = asset.files[-1]
    url = asset.url or get_weight(asset.torchvision).url
    assert url.endswith(f"/{name}")
    assert f"-{digest[:8]}." in name and len(digest) == 64


def test_both_formats_load_as_float32(tmp_path):
    state = {"a": torch.tensor([0.5, 2.0], dtype=torch.float16)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        loaded = weights.load(tmp_path / name)
        assert list(loaded) == ["a"]
        assert loaded["a"].dtype == torch.float32 and loaded["a"].tolist() == [0.5, 2.0]
