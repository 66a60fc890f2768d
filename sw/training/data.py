"""Image data sets in their official file formats.

:func:`load` reads MNIST and Fashion-MNIST (idx files, gzipped or not) and CIFAR-10 (the binary
layout ``cifar-10-batches-bin``) from a directory that the user names, or downloads the official
files into a cache. Images are uint8 ``(N, C, H, W)``, labels int64 ``(N,)``.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import os
import tarfile
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.files import read_bytes, write_bytes

__all__ = ["DATASETS", "Dataset", "cache_directory", "load"]

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Where a data set comes from and what it holds.

    `splits` names the files of each split in `folder`; `downloads` maps the name of a file on the
    server `url` to its md5.
    """

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    url: str
    downloads: Mapping[str, str]
    splits: Mapping[str, tuple[str, ...]]
    read: Callable[[list[Path]], tuple[Images, Labels]]
    folder: str = ""


def load(name: str, directory: str | os.PathLike[str] | None, split: str) -> tuple[Images, Labels]:
    """Images uint8 ``(N, C, H, W)`` and labels int64 ``(N,)`` of `split` ("train" or "test").

    `directory` holds the official files, directly or in a sub-folder named after the data set; with
    None they are downloaded once into :func:`cache_directory` and checked against their md5. Raises
    SpikewrightError for an unknown name or split, and for a missing, truncated or foreign file.
    """
    if name not in DATASETS:
        raise SpikewrightError(f"data {name}: is not known; choose one of {', '.join(DATASETS)}")
    dataset = DATASETS[name]
    if split not in dataset.splits:
        raise SpikewrightError(
            f"data {name}: has no split {split}; choose one of {', '.join(dataset.splits)}"
        )
    if directory is None:
        _download(name, dataset)
        directory = cache_directory()
    x, y = dataset.read([_find(Path(directory), name, dataset, f) for f in dataset.splits[split]])
    if x.shape[1:] != dataset.shape:
        raise SpikewrightError(f"data {name}: images of {x.shape[1:]}, expected {dataset.shape}")
    if len(x) != len(y):
        raise SpikewrightError(
            f"data {name}: {len(x)} images but {len(y)} labels; the files do not belong together"
        )
    if not len(y):
        raise SpikewrightError(f"data {name}: the {split} split holds no images")
    if not 0 <= y.min() <= y.max() < len(dataset.classes):
        raise SpikewrightError(f"data {name}: a label lies outside 0..{len(dataset.classes) - 1}")
    return x, y


def cache_directory() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/spikewright``, else ``~/.cache/spikewright``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "spikewright"


# ------------------------------------------------------------------------------------ finding files


def _find(directory: Path, name: str, dataset: Dataset, file: str) -> Path:
    """`file` or its gzipped twin, in `directory`, its sub-folder `name`, or the official folder."""
    for parent in (directory, directory / name):
        for path in (parent / f"{file}.gz", parent / file, parent / dataset.folder / file):
            if os.path.isfile(path):
                return path
    raise SpikewrightError(
        f"{directory}: holds no {file} of {name}; name the folder of the official files, or none "
        "to download them"
    )


def _download(name: str, dataset: Dataset) -> None:
    folder = cache_directory() / name
    for file, md5 in dataset.downloads.items():
        done = folder / f"{file}.md5"
        if done.is_file():  # written last, so everything of this download is in place
            continue
        address = f"{dataset.url}/{file}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with urllib.request.urlopen(address, timeout=60) as reply:
                data = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise SpikewrightError(
                f"{address}: cannot be downloaded ({error}); name a directory that holds the files"
            ) from None
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if found != md5:
            raise SpikewrightError(f"{address}: has md5 {found}, expected {md5}; try again later")
        if file.endswith(".tar.gz"):
            _unpack(data, folder, dataset)
        else:
            write_bytes(folder / file, data)
        write_bytes(done, f"{md5}\n".encode())


def _unpack(archive: bytes, folder: Path, dataset: Dataset) -> None:
    """The data set's own files out of a checked tar archive, by name."""
    target = folder / dataset.folder
    target.mkdir(exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for file in (file for files in dataset.splits.values() for file in files):
            member = tar.extractfile(f"{dataset.folder}/{file}")
            if member is None:
                raise SpikewrightError(f"{folder}: the downloaded archive holds no {file}")
            write_bytes(target / file, member.read())


# ---------------------------------------------------------------------------------- reading formats


def _contents(path: Path) -> bytes:
    try:
        data = read_bytes(path)
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise SpikewrightError(
            f"{path}: cannot be read ({error}); it may be truncated, fetch it again"
        ) from None


def _idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """An idx file of unsigned bytes: magic ``00 00 08 n``, n big-endian sizes, the data."""
    data = _contents(path)
    magic = bytes((0, 0, 8, dimensions))
    if data[:4] != magic:
        raise SpikewrightError(
            f"{path}: begins with {data[:4].hex() or 'nothing'}, not {magic.hex()}; it is no idx "
            f"file of {dimensions}-dimensional bytes"
        )
    start = 4 + 4 * dimensions
    sizes = np.frombuffer(data[4 : min(start, len(data)) // 4 * 4], ">u4").tolist()
    expected = start + int(np.prod(sizes, dtype=object)) if len(sizes) == dimensions else start
    if len(data) != expected:
        raise SpikewrightError(
            f"{path}: holds {len(data)} bytes, its header promises {expected}; fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(sizes).copy()


def _read_idx(paths: list[Path]) -> tuple[Images, Labels]:
    images, labels = _idx(paths[0], 3), _idx(paths[1], 1)
    return images[:, None], labels.astype(np.int64)


def _read_cifar(paths: list[Path]) -> tuple[Images, Labels]:
    """Records of one label byte and 3 planes of 32x32 pixels, row by row."""
    record = 1 + 3 * 32 * 32
    parts = []
    for path in paths:
        data = _contents(path)
        if not data or len(data) % record:
            raise SpikewrightError(
                f"{path}: holds {len(data)} bytes, not a multiple of {record}; fetch it again"
            )
        parts.append(np.frombuffer(data, np.uint8).reshape(-1, record))
    records = np.concatenate(parts)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def _idx_set(url: str, classes: tuple[str, ...], *checksums: str) -> Dataset:
    """28x28 images in four idx files, with the md5 of each when gzipped."""
    splits = {
        split: (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
        for split, stem in (("train", "train"), ("test", "t10k"))
    }
    files = (f"{file}.gz" for pair in splits.values() for file in pair)
    downloads = dict(zip(files, checksums, strict=True))
    return Dataset((1, 28, 28), classes, url, downloads, splits, _read_idx)


DATASETS: Mapping[str, Dataset] = {
    "mnist": _idx_set(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        tuple("0123456789"),
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion-mnist": _idx_set(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        (
            *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
            *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
        ),
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "cifar10": Dataset(
        shape=(3, 32, 32),
        classes=(
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ),
        url="https://www.cs.toronto.edu/~kriz",
        downloads={"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
        splits={
            "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
            "test": ("test_batch.bin",),
        },
        read=_read_cifar,
        folder="cifar-10-batches-bin",
    ),
}
