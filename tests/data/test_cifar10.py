"""CIFAR-10 in its three formats, small ones made here and the real one where it is."""

import hashlib
import io
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ttfm.data import cifar10
from ttfm.data.cifar10 import CIFAR10, read_split
from ttfm.data.finding import DamagedData, DataUnavailable

COUNTS = {"data_batch_1": 3, "data_batch_2": 2, "test_batch": 4}
REAL = Path(os.environ.get("TTFM_ASSETS", "nowhere")) / "data" / "cifar10"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A folder of data with nothing in it, and the content of a tiny set that takes the published one's place."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    content = {
        name: (rng.integers(0, 256, (count, 3072), dtype=np.uint8), rng.integers(0, 10, count, dtype=np.uint8))
        for name, count in COUNTS.items()
    }
    whole = {
        "train": [np.concatenate(pair) for pair in zip(content["data_batch_1"], content["data_batch_2"], strict=True)],
        "test": list(content["test_batch"]),
    }
    digests = {split: hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest() for split, (x, y) in whole.items()}
    monkeypatch.setattr(cifar10, "PIXELS", digests)
    return tmp_path / "assets", content, whole


class Python2Pickler(pickle._Pickler):
    """Writes bytes as the strings of Python 2, as in the official batches."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_bytes(self, value):
        self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)

    dispatch[bytes] = save_bytes


def write_batches(folder, content, monkeypatch):
    folder.mkdir(parents=True)
    md5 = {}
    for name, (images, labels) in content.items():
        buffer = io.BytesIO()
        Python2Pickler(buffer, 2).dump({"data": images, "labels": labels.tolist(), "batch_label": "one of them"})
        (folder / name).write_bytes(buffer.getvalue())
        md5[name] = hashlib.md5(buffer.getvalue()).hexdigest()
    train = {name: value for name, value in md5.items() if name.startswith("data")}
    monkeypatch.setattr(cifar10, "BATCHES", {"train": train, "test": {"test_batch": md5["test_batch"]}})


def write_binary(folder, content):
    folder.mkdir(parents=True)
    for name, (images, labels) in content.items():
        (folder / f"{name}.bin").write_bytes(np.concatenate([labels[:, None], images], axis=1).tobytes())


def write_parquet(folder, whole):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder.mkdir(parents=True)
    for split, (images, labels) in whole.items():
        encoded = []
        for pixels in images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "WEBP", lossless=True)
            encoded.append({"bytes": buffer.getvalue(), "path": None})
        kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        half = len(labels) // 2
        for part, rows in enumerate((slice(0, half), slice(half, None))):
            columns = {"img": pyarrow.array(encoded[rows], kind), "label": pyarrow.array(labels[rows], pyarrow.int64())}
            parquet.write_table(pyarrow.table(columns), folder / f"{split}-{part:05}-of-00002.parquet")


@pytest.mark.parametrize("name", cifar10.FOLDERS)
def test_every_format_gives_the_same_images_and_labels(made, name, monkeypatch):
    assets, content, whole = made
    if name == "cifar10":
        write_parquet(assets / "data" / name, whole)
    elif name.endswith("py"):
        write_batches(assets / name, content, monkeypatch)
    else:
        monkeypatch.setattr(
            cifar10, "BATCHES", {"train": {"data_batch_1": "", "data_batch_2": ""}, "test": {"test_batch": ""}}
        )
        write_binary(assets / name, content)
    found = CIFAR10().read(str(assets), assets)
    for split, (images, labels) in whole.items():
        assert np.array_equal(found.splits[split].images, images.reshape(-1, 3, 32, 32))
        assert np.array_equal(found.splits[split].labels, labels)
        assert found.splits[split].labels.dtype == np.int64
    assert (found.classes, found.notes) == (10, {"folder": name})
    few = CIFAR10(limit=2).read(str(assets), assets).splits
    assert [len(split.images) for split in few.values()] == [2, 4]


def test_a_damaged_batch_is_named(made, monkeypatch):
    assets, content, _ = made
    folder = assets / "cifar-10-batches-py"
    write_batches(folder, content, monkeypatch)
    (folder / "data_batch_2").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(DamagedData, match=r"data_batch_2: damaged: expected md5 \w{32}, found \w{32}; delete"):
        CIFAR10().read(str(assets), assets)
    (folder / "data_batch_2").unlink()
    with pytest.raises(DamagedData, match="data_batch_2: missing; add the file or remove its folder"):
        CIFAR10().read(str(assets), assets)


def test_a_batch_is_never_unpickled(made, monkeypatch):
    assets, content, _ = made
    folder = assets / "cifar-10-batches-py"
    write_batches(folder, content, monkeypatch)
    hostile, path = b"cos\nsystem\n(S'exit 1'\ntR.", folder / "data_batch_1"
    digest = {"data_batch_1": hashlib.md5(hostile).hexdigest()}
    monkeypatch.setitem(cifar10.BATCHES, "train", cifar10.BATCHES["train"] | digest)
    path.write_bytes(hostile)
    with pytest.raises(DamagedData, match="data_batch_1: no batch of CIFAR-10"):
        CIFAR10().read(str(assets), assets)


def test_other_pixels_are_refused_whatever_their_format(made, monkeypatch):
    assets, content, _ = made
    monkeypatch.setattr(
        cifar10, "BATCHES", {"train": {"data_batch_1": "", "data_batch_2": ""}, "test": {"test_batch": ""}}
    )
    content["test_batch"][0][0, 0] ^= 1
    write_binary(assets / "cifar-10-batches-bin", content)
    with pytest.raises(DamagedData, match=r"not the test images of CIFAR-10: expected sha256 \w{64} of pixels and lab"):
        CIFAR10().read(str(assets), assets)
    with (assets / "cifar-10-batches-bin" / "test_batch.bin").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DamagedData, match=r"test_batch\.bin: damaged: 12296 bytes are no whole number of images"):
        CIFAR10().read(str(assets), assets)


def test_a_damaged_parquet_file_is_named(made):
    assets, _, whole = made
    write_parquet(assets / "cifar10", whole)
    path = assets / "cifar10" / "train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedData, match=r"train-00001-of-00002\.parquet: damaged, or of another schema"):
        CIFAR10().read(str(assets), assets)
    for file in (assets / "cifar10").glob("test-*"):
        file.unlink()
    with pytest.raises(DamagedData, match=r"no test-\*\.parquet; add the missing files"):
        read_split(assets / "cifar10", "test")


def encoded(side=32, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 3), dtype=np.uint8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (None, "row 1 has no image; replace the file"),
        (b"no image", "the image of row 1 cannot be read; replace"),
        (encoded(kind="JPEG")[:-200], "the image of row 1 cannot be read; replace"),
        (encoded(33), "the image of row 1 has 33 x 33 pixels, not 32 x 32; replace"),
    ],
)
def test_a_damaged_image_is_named_with_its_file_and_row(tmp_path, second, message):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "cifar10"
    folder.mkdir()
    for part, contents in enumerate(([encoded()] * 3, [encoded(), second])):
        images = pyarrow.array([{"bytes": content} for content in contents], pyarrow.struct([("bytes", "binary")]))
        columns = {"img": images, "label": pyarrow.array([0] * len(contents))}
        parquet.write_table(pyarrow.table(columns), folder / f"test-{part}.parquet")
    with pytest.raises(DamagedData, match=rf"test-1\.parquet: {message}"):
        read_split(folder, "test")


def test_parquet_files_of_another_schema_are_named(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "cifar10"
    folder.mkdir()
    other = pyarrow.array([{"pixels": b""}], pyarrow.struct([("pixels", "binary")]))
    whole = pyarrow.array([{"bytes": encoded()}], pyarrow.struct([("bytes", "binary")]))
    for columns, message in (
        ({"img": [b"", b""], "label": [0, 1]}, "column img is binary and not a struct with the entry bytes"),
        ({"img": other, "label": [0]}, "damaged, or of another schema"),
        ({"img": whole}, "damaged, or of another schema"),
        ({"img": whole, "label": pyarrow.array([None], "int64")}, "damaged, or of another schema"),
    ):
        parquet.write_table(pyarrow.table(columns), folder / "test-0.parquet")
        with pytest.raises(DamagedData, match=rf"test-0\.parquet: {message}"):
            read_split(folder, "test")


def test_without_a_network_it_says_where_it_looked_and_what_to_do(made, monkeypatch):
    assets, content, _ = made

    def unreachable(folder):
        raise OSError("no route to host")

    monkeypatch.setattr(cifar10, "_fetch", unreachable)
    with pytest.raises(DataUnavailable) as error:
        CIFAR10().read(str(assets), assets)
    message = str(error.value)
    assert f"CIFAR-10: not found in {assets}, {assets}/data, " in message and "(no route to host)" in message
    assert "put the folder cifar-10-batches-py of cs.toronto.edu into a folder and name the folder in" in message

    def fetch(folder):
        write_batches(folder / "cifar-10-batches-py", content, monkeypatch)

    monkeypatch.setattr(cifar10, "_fetch", fetch)
    CIFAR10().read(str(assets), assets)
    # From now on it is in the cache, and nothing is fetched.
    monkeypatch.setattr(cifar10, "_fetch", unreachable)
    assert len(CIFAR10().read(str(assets), assets).splits["train"].images) == 5


def test_a_download_is_held_to_its_sha256_before_it_is_unpacked(made, tmp_path, monkeypatch):
    assets, content, whole = made
    write_batches(tmp_path / "official" / "cifar-10-batches-py", content, monkeypatch)
    archive = Path(shutil.make_archive(str(tmp_path / "published"), "gztar", tmp_path / "official"))
    monkeypatch.setattr(cifar10, "ARCHIVE", archive.as_uri())
    with pytest.raises(DataUnavailable, match=r"the download failed .*hash"):
        CIFAR10().read(str(assets), assets)
    assert not list((tmp_path / "cache").rglob("*_batch*"))
    monkeypatch.setattr(cifar10, "ARCHIVE_SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    found = CIFAR10().read(str(assets), assets).splits["train"].images
    assert np.array_equal(found.reshape(-1, 3072), whole["train"][0])


@pytest.mark.skipif(not REAL.is_dir(), reason="CIFAR-10 is not in the folder that TTFM_ASSETS names")
def test_the_real_test_images():
    pytest.importorskip("pyarrow")
    found = read_split(REAL, "test")
    assert found.images.shape == (10_000, 3, 32, 32) and found.images.dtype == np.uint8
    mean = [found.images[:, channel].mean(dtype=np.float64) / 255 for channel in range(3)]
    assert mean == pytest.approx([0.49421, 0.48513, 0.45041], abs=1e-5)
    assert found.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    digest = hashlib.sha256(found.images.tobytes() + found.labels.astype(np.uint8).tobytes()).hexdigest()
    assert digest == cifar10.PIXELS["test"]
