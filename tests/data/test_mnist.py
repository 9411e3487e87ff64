"""MNIST and Fashion-MNIST from idx files."""

import gzip
import hashlib
import os
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from ttfm.data.finding import DamagedData, DataUnavailable, cache
from ttfm.data.mnist import FILES, MNIST, FashionMNIST

REAL = Path(os.environ.get("TTFM_ASSETS", "nowhere")) / "data" / "FashionMNIST" / "raw"


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A tiny set in torchvision's layout, training files packed and test files plain."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TTFM_ASSETS", raising=False)
    rng = np.random.default_rng(0)
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    content, digests = {}, []
    for (split, names), count in zip(FILES.items(), (5, 3), strict=True):
        content[split] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), rng.integers(0, 10, count, np.uint8)
        for name, array in zip(names, content[split], strict=True):
            digests.append(hashlib.sha256(idx(array)).hexdigest())
            if split == "train":
                (raw / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                (raw / name).write_bytes(idx(array))
    monkeypatch.setattr(MNIST, "digests", tuple(digests))
    return tmp_path, raw, content


def test_packed_and_plain_files_are_read(made):
    assets, _, content = made
    found = MNIST().read(str(assets), assets)
    for split, (images, labels) in content.items():
        assert np.array_equal(found.splits[split].images[:, 0], images)
        assert np.array_equal(found.splits[split].labels, labels)
    assert found.classes == 10
    assert len(MNIST(limit=2).read(str(assets), assets).splits["train"].images) == 2


def test_damage_is_named(made):
    assets, raw, _ = made
    packed = raw / "train-labels-idx1-ubyte.gz"
    whole = packed.read_bytes()
    for content, message in (
        (whole[:-4], r"train-labels-idx1-ubyte\.gz: damaged gzip file"),
        (gzip.compress(b"else"), r"train-labels-idx1-ubyte\.gz: damaged: expected sha256 \w{64}, found \w{64}"),
    ):
        packed.write_bytes(content)
        with pytest.raises(DamagedData, match=message):
            MNIST().read(str(assets), assets)
    packed.unlink()
    with pytest.raises(DamagedData, match=r"train-labels-idx1-ubyte\.gz: missing; add the file or remove the folder"):
        MNIST().read(str(assets), assets)


def test_without_a_network_it_says_what_to_put_where(made, monkeypatch):
    assets, _, _ = made

    def unreachable(self, folder):
        raise RuntimeError("Error downloading")

    monkeypatch.setattr(MNIST, "_fetch", unreachable)
    with pytest.raises(DataUnavailable, match=r"FashionMNIST: not found in .*put torchvision's folder FashionMNIST"):
        FashionMNIST().read(str(assets), assets)


@pytest.mark.parametrize("tampered", [False, True])
def test_a_download_is_moved_to_its_place_when_its_sha256_is_right(made, tampered, monkeypatch):
    _, raw, _ = made
    if tampered:
        (raw / "t10k-images-idx3-ubyte").write_bytes((raw / "t10k-images-idx3-ubyte").read_bytes()[:-1] + b"x")
    monkeypatch.setattr(datasets, "MNIST", lambda root, download: shutil.copytree(raw, Path(root) / "MNIST" / "raw"))
    expected = pytest.raises(DamagedData, match="t10k-images-idx3-ubyte: damaged") if tampered else nullcontext()
    with expected:
        MNIST().read(None, raw)
    assert (cache() / "MNIST" / "raw").is_dir() != tampered


@pytest.mark.skipif(not REAL.is_dir(), reason="Fashion-MNIST is not in the folder that TTFM_ASSETS names")
def test_the_real_fashion_mnist():
    found = FashionMNIST().read(str(REAL.parents[2]), REAL)
    assert [split.images.shape for split in found.splits.values()] == [(60_000, 1, 28, 28), (10_000, 1, 28, 28)]
    assert np.bincount(found.splits["test"].labels).tolist() == [1000] * 10
