"""Harms to files, as hypothesis strategies: bytes, JSON values, entries of zip files, headers."""

import io
import json
import struct
import zipfile
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

NASTY: list[Any] = [
    *(None, True, False, "", "x", "1", [], {}, [[]], {"a": 1}, [1], ["x"], "module:Class", "os:abort"),
    *(0, -1, 1, 2, 3, 17, 255, 256, 65536, 2**31 - 1, 2**31, 2**60, 2**63, 10**30, 1.5, -0.5, 1e308, 1e-308),
    *(float("nan"), float("inf"), "../../x", "/dev/zero", "cuda:99", "meta", "\0", "é" * 300, "(" * 50),
]
PIECES = [
    b"",
    b",",
    b'"',
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"[",
    b"]",
    b"{",
    b"}",
    b":",
    b"-",
    b"9" * 30,
    b"1e999",
]
LARGE = 1 << 16  # a nested text of as many levels


def examples(count: int, *, usual: int) -> settings:
    """That many examples, the same ones every time unless more than usual are wanted."""
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=count <= usual,
        suppress_health_check=list(HealthCheck),
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all values in a JSON value."""
    found = [path]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found += places(inner, (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], change: Any) -> Any:
    """A JSON value with the value at a path changed by a function."""
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], change)
    return copy


@st.composite
def harmed_bytes(draw: Any, data: bytes) -> bytes:
    """Bytes changed, left out, put in, doubled or cut off."""
    first = draw(st.integers(0, len(data)))
    last = min(len(data), first + draw(st.sampled_from([1, 1, 4, 100])))
    piece = draw(st.sampled_from(PIECES))
    kind = draw(st.sampled_from(["flip", "flip", "piece", "insert", "double", "cut", "empty"]))
    if kind == "flip" and first < len(data):
        return data[:first] + bytes([data[first] ^ (1 << draw(st.integers(0, 7)))]) + data[first + 1 :]
    if kind == "piece":
        return data[:first] + piece + data[last:]
    if kind == "insert":
        return data[:first] + piece + data[first:]
    if kind == "double":
        return data[:last] + data[first:]
    return b"" if kind == "empty" else data[:first]


@st.composite
def harmed_json(draw: Any, data: bytes) -> bytes:
    """JSON with a value of another kind or size, without a key, with another key, or nested deep."""
    value = json.loads(data)
    path = draw(st.sampled_from(places(value)))
    kind = draw(st.sampled_from(["other", "other", "other", "delete", "add", "rename", "deep"]))
    if kind == "deep":
        mark = "[deep]"
        text = json.dumps(replaced(value, path, lambda _: mark))
        return text.replace(f'"{mark}"', "[" * LARGE + "]" * LARGE, 1).encode()
    new, name = draw(st.sampled_from(NASTY)), draw(st.sampled_from(["x", "", "class", "__init__", "0"]))

    def change(old: Any) -> Any:
        if kind == "other" or not isinstance(old, dict | list) or not old:
            return new
        if isinstance(old, list):
            return [*old, new] if kind == "add" else old[:-1]
        key = draw(st.sampled_from(sorted(old)))
        rest = {k: v for k, v in old.items() if k != key}
        return {**old, name: new} if kind == "add" else {**rest, name: old[key]} if kind == "rename" else rest

    return json.dumps(replaced(value, path, change)).encode()


@st.composite
def harmed_text(draw: Any, data: bytes) -> bytes:
    """Text with a word or number replaced."""
    words = data.split(b" ")
    at = draw(st.integers(0, len(words) - 1))
    words[at] = json.dumps(draw(st.sampled_from(NASTY))).encode() + b"\n" * words[at].count(b"\n")
    return b" ".join(words)


@st.composite
def harmed_safetensors(draw: Any, data: bytes) -> bytes:
    """Another header before the same tensors; JSON within its metadata is harmed as JSON."""
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    metadata = header.get("__metadata__", {})
    inner = [key for key, text in metadata.items() if text[:1] in "{["]
    if inner and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(inner)))
        metadata[key] = draw(harmed_json(metadata[key].encode())).decode()
        text = json.dumps(header).encode()
    else:
        text = draw(harmed_json(data[8 : 8 + length]))
    claimed = draw(
        st.sampled_from([len(text)] * 8 + [0, len(text) - 1, len(text) + 8, 2**31, 2**60, 2**64 - 1])
    )
    return struct.pack("<Q", max(0, claimed)) + text + rest


@st.composite
def harmed_npy(draw: Any, data: bytes) -> bytes:
    """Another header before the same numbers."""
    header = data[10 : 10 + struct.unpack("<H", data[8:10])[0]]
    shape, kind = (
        draw(st.sampled_from(["(3,)", "()", "(-1,)", f"({2**60},)", "(0,)", "(2, 2)", "x", "(" * 400])),
        None,
    )
    kind = draw(st.sampled_from(["<i4", "<i8", "<f4", "|O", "|S9", ">u2", "<c16", "|V8", "<M8[s]", "|b1"]))
    if draw(st.booleans()):
        text = b"{'descr': '%s', 'fortran_order': False, 'shape': %s}\n" % (kind.encode(), shape.encode())
    else:
        text = draw(harmed_bytes(header))
    return data[:8] + struct.pack("<H", len(text)) + text + data[10 + len(header) :]


@st.composite
def harmed_zip(draw: Any, data: bytes) -> bytes:
    """One entry harmed, left out or doubled; the others as they were."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        names = old.namelist()
        chosen, kind = (
            draw(st.sampled_from(names)),
            draw(st.sampled_from(["harm", "harm", "harm", "drop", "move"])),
        )
        for name in names:
            content = old.read(name)
            if name == chosen and kind == "drop":
                continue
            if name == chosen and kind == "harm":
                content = draw(harmed(name, content))
            new.writestr(f"../{name}" if name == chosen and kind == "move" else name, content)
    return file.getvalue()


_BY_NAME = {
    ".json": harmed_json,
    ".jsonl": harmed_text,
    ".toml": harmed_text,
    ".yaml": harmed_text,
    ".csv": harmed_text,
    ".safetensors": harmed_safetensors,
    ".npy": harmed_npy,
    ".zip": harmed_zip,
    ".pt": harmed_zip,
    ".pth": harmed_zip,
}


def harmed(name: str, data: bytes) -> Any:
    """A strategy of harmed contents of a file, by its name."""
    suffix = f".{name.rpartition('.')[2]}"
    by_format = _BY_NAME.get(suffix)
    usual = harmed_bytes(data)
    return usual if by_format is None else st.one_of(usual, by_format(data), by_format(data))


def documents(name: str, data: bytes) -> list[tuple[Any, Any]]:
    """The JSON values within a file, each with a function from another value to the file that has it."""
    if name.endswith(".json"):
        return [(json.loads(data), lambda value: json.dumps(value).encode())]
    if name.endswith(".safetensors"):
        (length,) = struct.unpack("<Q", data[:8])
        header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
        metadata = header.get("__metadata__", {})

        def rebuilt(key: str) -> Any:
            def build(value: Any) -> bytes:
                text = json.dumps(header | {"__metadata__": metadata | {key: json.dumps(value)}}).encode()
                return struct.pack("<Q", len(text)) + text + rest

            return build

        return [(json.loads(text), rebuilt(key)) for key, text in metadata.items() if text[:1] in "{["]
    if not name.endswith(".zip"):
        return []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}

    def zipped(entry: str) -> Any:
        def build(value: Any) -> bytes:
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                for other, content in (entries | {entry: json.dumps(value).encode()}).items():
                    archive.writestr(other, content)
            return file.getvalue()

        return build

    return [(json.loads(text), zipped(entry)) for entry, text in entries.items() if entry.endswith(".json")]
