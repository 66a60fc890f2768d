"""Files: only regular ones of bounded size; a damaged ``.npz`` is one clear line."""

import contextlib
import io
import os
import random
import zipfile

import numpy as np
import pytest

from spikewright import SpikewrightError, files


@pytest.mark.parametrize("read", [files.read_bytes, files.read_text, files.read_npz])
def test_only_regular_files_are_read(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "pipe", "is a pipe or a device"),
        ("/dev/zero", "is a pipe or a device"),
        (tmp_path, "is a folder"),
        (tmp_path / "none", "no such file"),
        ("a\0b", "cannot be read"),
        ("x" * 5000, "File name too long"),
        (tmp_path / "two\nlines", "no such file"),
    ):
        with pytest.raises(SpikewrightError, match=message) as error:
            read(path)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 600


def test_sizes_are_bounded(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "12345")
    assert files.read_text(path, 5) == "12345"
    with pytest.raises(SpikewrightError, match="is larger than"):
        files.read_bytes(path, 4)
    files.write_bytes(path, b"\xff")
    with pytest.raises(SpikewrightError, match="not UTF-8"):
        files.read_text(path)


def test_npz_round_trip(tmp_path):
    arrays = {"x": np.array(3), "y": np.arange(6.0).reshape(2, 3).T, "z": np.array("text")}
    files.write_npz(tmp_path / "a.npz", arrays)
    read = files.read_npz(tmp_path / "a.npz")
    assert {name: value.tolist() for name, value in read.items()} == {
        name: value.tolist() for name, value in arrays.items()
    }


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def test_damaged_npz(tmp_path):
    path = tmp_path / "a.npz"

    def refused(data, message):
        path.write_bytes(data)
        with pytest.raises(SpikewrightError, match=message):
            files.read_npz(path)

    def packed(data, copies=1):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for copy in range(copies):
                archive.writestr(f"{copy}.npy", data)
        return buffer.getvalue()

    refused(npy(np.arange(3)), "not a zip file")
    refused(packed(npy(np.array([{}], object), allow_pickle=True)), "Python objects")
    refused(packed(b"text"), "not a readable .npz")
    huge = npy(np.arange(3)).replace(b"(3,), ", b"(3333333333333,), ").replace(b" " * 14, b" ", 1)
    refused(packed(huge), "not a readable .npz")
    files.write_npz(path, {"x": np.arange(9), "y": np.zeros(3)})
    sound, rng = path.read_bytes(), random.Random(1)
    for _ in range(500):
        data = bytearray(sound)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with contextlib.suppress(SpikewrightError):
            files.read_npz(path)


def test_nothing_half_written(tmp_path):
    with pytest.raises(SpikewrightError, match="cannot be written"):
        files.write_text(tmp_path / "none" / "file", "text")
    with pytest.raises(SpikewrightError, match="cannot be written"):
        files.write_text("a\0b", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SpikewrightError, match="cannot be written"):
        files.write_text(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
