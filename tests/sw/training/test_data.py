"""Readers of the official formats: what is written by the format's own rules comes back."""

import dataclasses
import gzip
import hashlib
import io
import os
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from spikewright.errors import SpikewrightError
from spikewright.sw.training import data

RNG = np.random.default_rng(1)
IMAGES = RNG.integers(256, size=(7, 28, 28), dtype=np.uint8)
LABELS = RNG.integers(10, size=7, dtype=np.uint8)


def idx(array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(LABELS))
    return tmp_path


def cifar_records(labels, images):
    return b"".join(
        bytes([label]) + image.tobytes() for label, image in zip(labels, images, strict=True)
    )


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files_gzipped_or_not_come_back(folder, name):
    x, y = data.load(name, folder, "test")
    assert (x.shape, x.dtype, y.dtype) == ((7, 1, 28, 28), np.uint8, np.int64)
    np.testing.assert_array_equal(x[:, 0], IMAGES)
    np.testing.assert_array_equal(y, LABELS)


def test_a_sub_folder_named_after_the_data_set_is_found(folder, tmp_path_factory):
    parent = tmp_path_factory.mktemp("all")
    folder.rename(parent / "mnist")
    assert len(data.load("mnist", parent, "test")[0]) == 7


@pytest.mark.parametrize("below", ["", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"])
def test_cifar_records_come_back_in_the_order_of_the_batches(tmp_path, below):
    images = RNG.integers(256, size=(10, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(10, dtype=np.uint8)
    target = tmp_path / below
    target.mkdir(parents=True, exist_ok=True)
    for batch in range(5):
        part = slice(2 * batch, 2 * batch + 2)
        path = target / f"data_batch_{batch + 1}.bin"
        path.write_bytes(cifar_records(labels[part], images[part]))
    x, y = data.load("cifar10", tmp_path, "train")
    np.testing.assert_array_equal(x, images)
    np.testing.assert_array_equal(y, labels)


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(
        SpikewrightError, match=r"^data imagenet: is not known; choose one of mnist"
    ):
        data.load("imagenet", tmp_path, "test")
    with pytest.raises(
        SpikewrightError, match=r"^data mnist: has no split dev; choose one of train"
    ):
        data.load("mnist", tmp_path, "dev")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SpikewrightError, match=r"holds no t10k-images-idx3-ubyte of mnist"):
        data.load("mnist", tmp_path, "test")


def test_a_truncated_gzip_file_is_refused(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SpikewrightError, match=r"ubyte\.gz: cannot be read .* fetch it again"):
        data.load("mnist", folder, "test")


@pytest.mark.parametrize("length", [14, 7, 4])
def test_a_truncated_idx_file_is_refused(folder, length):
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(LABELS)[:length])
    with pytest.raises(SpikewrightError, match=rf"holds {length} bytes, its header promises"):
        data.load("mnist", folder, "test")


@pytest.mark.parametrize(("content", "begins"), [(b"", "nothing"), (idx(IMAGES), "00000803")])
def test_a_wrong_magic_number_is_refused(folder, content, begins):
    (folder / "t10k-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(SpikewrightError, match=rf"begins with {begins}, not 00000801"):
        data.load("mnist", folder, "test")


def test_files_that_do_not_belong_together_are_refused(folder):
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(LABELS[:5]))
    with pytest.raises(SpikewrightError, match=r"7 images but 5 labels"):
        data.load("mnist", folder, "test")


def test_labels_beyond_the_classes_are_refused(folder):
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(LABELS + 200))
    with pytest.raises(SpikewrightError, match=r"a label lies outside 0\.\.9"):
        data.load("mnist", folder, "test")


def test_a_split_of_nothing_is_refused(folder):
    for path in folder.glob("t10k-*"):
        path.unlink()
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(IMAGES[:0]))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(LABELS[:0]))
    with pytest.raises(SpikewrightError, match=r"^data mnist: the test split holds no images"):
        data.load("mnist", folder, "test")


def test_images_of_another_size_are_refused(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(IMAGES[:, 1:])))
    with pytest.raises(SpikewrightError, match=r"images of \(1, 27, 28\), expected \(1, 28, 28\)"):
        data.load("mnist", folder, "test")


@pytest.mark.parametrize("content", [b"", bytes(3072)])
def test_a_truncated_cifar_batch_is_refused(tmp_path, content):
    (tmp_path / "test_batch.bin").write_bytes(content)
    with pytest.raises(SpikewrightError, match=r"not a multiple of 3073"):
        data.load("cifar10", tmp_path, "test")


# ---------------------------------------------------------------------------------------- downloads


def serve(monkeypatch, tmp_path, name, files):
    """Let the data set `name` be downloaded from a folder that holds `files`."""
    server = tmp_path / "server"
    server.mkdir()
    for file, content in files.items():
        (server / file).write_bytes(content)
    served = dataclasses.replace(
        data.DATASETS[name],
        url=server.as_uri(),
        downloads={f: hashlib.md5(c, usedforsecurity=False).hexdigest() for f, c in files.items()},
    )
    monkeypatch.setattr(data, "DATASETS", {name: served})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return server


def test_downloads_are_kept(monkeypatch, tmp_path):
    files = {"t10k-images-idx3-ubyte.gz": IMAGES, "t10k-labels-idx1-ubyte.gz": LABELS}
    server = serve(
        monkeypatch, tmp_path, "mnist", {f: gzip.compress(idx(a)) for f, a in files.items()}
    )
    np.testing.assert_array_equal(data.load("mnist", None, "test")[1], LABELS)
    for path in server.iterdir():
        path.unlink()
    np.testing.assert_array_equal(data.load("mnist", None, "test")[1], LABELS)


def test_a_download_with_another_checksum_is_refused_and_not_kept(monkeypatch, tmp_path):
    server = serve(monkeypatch, tmp_path, "mnist", {"t10k-labels-idx1-ubyte.gz": b"right"})
    (server / "t10k-labels-idx1-ubyte.gz").write_bytes(b"wrong")
    with pytest.raises(SpikewrightError, match=r"has md5 .*, expected .*; try again later"):
        data.load("mnist", None, "test")
    assert not list((tmp_path / "cache" / "spikewright" / "mnist").iterdir())


def test_a_download_that_fails_says_so(monkeypatch, tmp_path):
    server = serve(monkeypatch, tmp_path, "mnist", {"t10k-labels-idx1-ubyte.gz": b""})
    (server / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(SpikewrightError, match=r"cannot be downloaded .*; name a directory"):
        data.load("mnist", None, "test")


def test_an_archive_is_unpacked_by_name(monkeypatch, tmp_path):
    buffer = io.BytesIO()
    content = cifar_records([3], RNG.integers(256, size=(1, 3, 32, 32), dtype=np.uint8))
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for i in (1, 2, 3, 4, 5):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/data_batch_{i}.bin")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name in ("cifar-10-batches-bin/test_batch.bin", "../outside"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    serve(monkeypatch, tmp_path, "cifar10", {"cifar-10-binary.tar.gz": buffer.getvalue()})
    assert data.load("cifar10", None, "train")[1].tolist() == [3] * 5
    assert not list(tmp_path.rglob("outside"))


# --------------------------------------------------------------------------------------- real files


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_official_files_hold_what_they_should(name):
    default = Path(__file__).parents[2] / ".." / "shared" / "data"
    root = Path(os.environ.get("SPIKEWRIGHT_DATA", default))
    if not (root / name).is_dir():
        pytest.skip(f"{name} is not there; set SPIKEWRIGHT_DATA")
    for split, number in (("train", 60000), ("test", 10000)):
        x, y = data.load(name, root, split)
        assert x.shape == (number, 1, 28, 28)
        assert np.bincount(y).min() > number / 12
