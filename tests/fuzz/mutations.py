"""Damage to bytes, JSON, arrays and paths; every choice is drawn from one seeded generator."""

import io
import json
import os
import random
import struct
import zipfile
from pathlib import Path

import numpy as np

NUMBERS = (
    *(0, -1, 1, 2, 3, 7, 8, 63, 64, 65, 255, 256, 4096, 65536, 2**31, 2**63, 2**64, 10**40),
    *(-(2**31), -(2**63), 0.5, -0.5, 1.5, 1e-300, 1e300, float("nan"), float("inf"), -0.0),
)
VALUES = (*NUMBERS, None, True, False, "", "x", "if", "none", "0", "\0", "é" * 300, [], {}, [[]])
TEXTS = (
    *map(str, NUMBERS),
    *("", " ", "x", "none", "1,2", "1,28,28", "0x10", "1e9", "٣", "-", "--", "1_0", "9" * 5000),
    *("1,100000,100000", "nan,nan", ",", "\n", "1;2", "%s", "0.0000001", "+1", " 8 "),
)


# ------------------------------------------------------------------------------------------- bytes


def damaged(data: bytes, rng: random.Random) -> bytes:
    """`data` with bits flipped, cut, grown, or replaced."""
    kind = rng.choice(("bit", "bit", "bits", "cut", "grow", "zero", "drop", "double", "other"))
    if not data or kind == "other":
        return rng.choice((b"", b"\0" * 64, b"{}", b"[]", b"null", b"PK\3\4", rng.randbytes(64)))
    at = rng.randrange(len(data))
    end = min(len(data), at + rng.choice((1, 2, 16, 256)))
    if kind in ("bit", "bits"):
        changed = bytearray(data)
        for _ in range(1 if kind == "bit" else 16):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    return {
        "cut": data[:at],
        "grow": data[:at] + rng.randbytes(16) + data[at:],
        "zero": data[:at] + bytes(end - at) + data[end:],
        "drop": data[:at] + data[end:],
        "double": data + data[at:],
    }[kind]


# -------------------------------------------------------------------------------------------- JSON


def places(value):
    """Every container and key inside `value`."""
    found = []
    todo = [value]
    while todo:
        node = todo.pop()
        keys = node if isinstance(node, dict) else range(len(node))
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], dict | list):
                todo.append(node[key])
    return found


def changed(value, rng: random.Random):
    """A JSON document with one to three fields changed; the containers of `value` are changed."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = places(value)
        if not found:
            return rng.choice(VALUES)
        node, key = rng.choice(found)
        old = node[key]
        kind = rng.choice(("value", "value", "step", "step", "drop", "add", "swap", "wrap"))
        if kind == "drop":
            del node[key]
        elif kind == "add" and isinstance(node, dict):
            node[rng.choice(("x", "schema", "__class__", "shape"))] = rng.choice(VALUES)
        elif kind == "add":
            node.extend(node[:] * rng.choice((1, 3)))
        elif kind == "swap":
            other, name = rng.choice(found)
            node[key], other[name] = json.loads(json.dumps((other[name], old)))
        elif kind == "wrap":
            node[key] = rng.choice(([old], {"x": old}, str(old)))
        elif kind == "step" and isinstance(old, int | float) and not isinstance(old, bool):
            node[key] = rng.choice((old + 1, old - 1, -old, old * 2, old * 1000, old / 2))
        else:
            node[key] = rng.choice(VALUES)
    return value


def nested(text: str, rng: random.Random) -> str:
    """`text` with a value replaced by one that is nested very deeply."""
    depth = rng.choice((50, 900, 3000, 100_000))
    deep = rng.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth))
    return text.replace(rng.choice(("null", "[", "0", "1")), deep, 1)


def damaged_json(data: bytes, rng: random.Random) -> bytes:
    """A JSON file with other values, other structure, or other bytes."""
    kind = rng.choice(("bytes", "nested", *["fields"] * 6))
    if kind == "bytes":
        return damaged(data, rng)
    if kind == "nested":
        return nested(data.decode(), rng).encode()
    return json.dumps(changed(json.loads(data), rng)).encode()


# ------------------------------------------------------------------------------------------ arrays


def other_array(array: np.ndarray, rng: random.Random) -> np.ndarray:
    """An array of another type, shape or content."""
    kind = rng.choice(("dtype", "shape", "value", "empty", "0-d", "transposed", "order"))
    if kind == "dtype":
        with np.errstate(all="ignore"):
            if array.dtype.kind in "US":
                return np.zeros(array.shape, rng.choice(("f8", "i8", "S4")))
            kinds = ("f2", "f4", "f8", "i1", "i8", "u1", "u8", "c16", "?", "U3", ">f8", ">i4", "S3")
            return array.astype(rng.choice(kinds))
    if kind == "shape":
        return np.resize(array, rng.choice(((0,), (1,), (1, 1, 1, 1), (3, 0), (2, 2), (1,) * 9)))
    if kind == "value" and array.dtype.kind in "fiu" and array.size:
        result = array.copy()
        options = (0, 1, 127) if array.dtype.kind != "f" else (np.nan, np.inf, 1e300, -1e-300, 0)
        with np.errstate(all="ignore"):
            result.flat[rng.randrange(array.size)] = np.array(rng.choice(options)).astype(
                array.dtype
            )
        return result
    return {
        "empty": array[:0] if array.ndim else np.zeros((0,), array.dtype),
        "0-d": np.array(array.flat[0]) if array.size else np.array(0),
        "transposed": array.T,
        "order": np.asfortranarray(array),
    }.get(kind, array.ravel())


def damaged_npz(data: bytes, rng: random.Random) -> bytes:
    """An ``.npz`` with other arrays, names, headers or bytes."""
    kind = rng.choice(
        ("bytes", "bytes", "array", "array", "array", "name", "npy", "header", "json")
    )
    if kind == "bytes":
        return damaged(data, rng)
    with np.load(io.BytesIO(data)) as archive:
        arrays = dict(archive)
    name = rng.choice(sorted(arrays))
    out = io.BytesIO()
    if kind == "npy":
        np.save(out, rng.choice((arrays[name], np.array(None), np.array([{}], object))))
        return out.getvalue()
    if kind == "header":
        return _false_header(arrays, name, rng)
    if kind == "name":
        arrays[rng.choice(("z", "x", "y", "../x", ""))] = arrays.pop(name)
    texts = [n for n, a in arrays.items() if a.dtype.kind in "SU" and a.ndim == 0]
    if kind == "json" and texts:
        name = rng.choice(texts)
        arrays[name] = np.array(
            damaged_json(str(arrays[name]).encode(), rng).decode(errors="replace")
        )
    elif kind != "name":
        arrays[name] = other_array(arrays[name], rng)
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def _false_header(arrays, name, rng):
    """An archive whose entry `name` declares what it does not hold."""
    out = io.BytesIO()
    shape = rng.choice(("(1000000000000,)", "(-1,)", "()", "(1,2", "(2**40,)", "((),)", "(" * 5000))
    kind = rng.choice(("'|u1'", "'<f8'", "'|O'", "'bad'", "[('a','<f8')]", "'<M8[ns]'", "'|V7'"))
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    with zipfile.ZipFile(out, "w") as archive:
        for other, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            data = content.getvalue()
            if other == name:
                data = b"\x93NUMPY\1\0" + struct.pack("<H", len(text) % 65536) + text + data[128:]
            archive.writestr(f"{other}.npy", data)
    return out.getvalue()


def damaged_safetensors(data: bytes, rng: random.Random) -> bytes:
    """A ``.safetensors`` with another header, another description in it, or other bytes."""
    kind = rng.choice(("bytes", "header", "header", "dtype", "about", "about", "about"))
    if kind == "bytes":
        return damaged(data, rng)
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    if kind == "about" and "__metadata__" in header:
        about = header["__metadata__"]["spikewright"]
        text = damaged_json(about.encode(), rng).decode(errors="replace")
        header["__metadata__"]["spikewright"] = text
    elif kind == "dtype":
        header, body = _other_dtype(header, body, rng)
    else:
        header = changed(header, rng)
    text = json.dumps(header).encode()
    size = rng.choice((len(text), len(text), len(text), 0, 2**40, len(text) + 1))
    return struct.pack("<Q", size) + text + body


def _other_dtype(header, body, rng):
    """All tensors with the right shapes and another dtype, in a sound file."""
    name, size = rng.choice(
        (("C64", 8), ("I32", 4), ("U8", 1), ("F16", 2), ("BF16", 2), ("F64", 8))
    )
    offset = 0
    for key, entry in header.items():
        if key != "__metadata__":
            length = int(np.prod(entry["shape"])) * size
            entry |= {"dtype": name, "data_offsets": [offset, offset + length]}
            offset += length
    return header, (body * 8)[:offset].ljust(offset, b"\0")


# ------------------------------------------------------------------------------------------- paths


def special(path: Path, rng: random.Random) -> str:
    """Put something that is no file in the place of `path`, or give another path that is none."""
    kind = rng.choice(
        ("fifo", "zero", "folder", "loop", "missing", "nul", "long", "null", "locked")
    )
    if kind in ("nul", "long"):
        return f"{path}\0x" if kind == "nul" else str(path.parent / ("x" * 5000))
    if path.is_file():
        path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind in ("zero", "null", "loop"):
        path.symlink_to({"zero": "/dev/zero", "null": "/dev/null", "loop": path.name}[kind])
    elif kind == "folder":
        path.mkdir()
    elif kind == "locked":
        path.touch(mode=0)
    return str(path)
