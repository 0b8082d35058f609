"""Hostile files: refused in one line, without running anything, in a second and little memory."""

import collections
import io
import os
import pickle
import pickletools
import resource
import struct
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.files import open_regular, read_text
from hrm_rl.settings import read_json
from hrm_rl.stored.archives import open_archive, read_entry
from hrm_rl.stored.npy import read_npy
from hrm_rl.stored.tensors import read_arrays, read_tensors
from hrm_rl.stored.text import parse_json
from hrm_rl.stored.torch_file import Skipped, read_torch_file

SECONDS, MEGABYTES = 1.0, 700


@pytest.fixture(autouse=True)
def quick_and_small():
    """CPU seconds and memory of each test; neither a busy machine nor what was loaded before counts."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024


# --- what is not a regular file -------------------------------------------------------------------

READERS: dict[str, Any] = {
    "text": read_text,
    "json": lambda path: read_json(path, "a configuration"),
    "npy": read_npy,
    "safetensors": read_tensors,
    "arrays": read_arrays,
    "torch": read_torch_file,
    "zip": lambda path: open_archive(path).__enter__(),
}


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are of POSIX")
@pytest.mark.parametrize("reader", READERS)
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path, reader: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match=r"not a regular file but a pipe or a device"):
            READERS[reader](path)
    with pytest.raises(IsADirectoryError):
        READERS[reader](tmp_path)


def sparse(path: Path, content: bytes, size: int) -> Path:
    path.write_bytes(content)
    os.truncate(path, size)
    if path.stat().st_blocks * 512 > size // 2:
        pytest.skip("a file system without holes")
    return path


def test_files_of_holes_are_refused(tmp_path: Path) -> None:
    size = 8 << 30
    header = b'{"a": {"dtype": "U8", "shape": [%d], "data_offsets": [0, %d]}}' % (size, size)
    content = struct.pack("<Q", len(header)) + header
    for reader in (read_tensors, read_arrays, read_text, read_torch_file):
        with pytest.raises(ValueError, match="holds no data in 8,5"):
            reader(sparse(tmp_path / "file", content, len(content) + size))


def test_a_text_has_a_largest_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 101)
    assert len(read_text(tmp_path / "a", 101)) == 101
    with pytest.raises(ValueError, match="a has more than 100 bytes"):
        read_text(tmp_path / "a", 100)
    with open_regular(tmp_path / "a") as file:
        assert file.read(1) == b"x"


# --- JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ("[" + "[]," * (1 << 20) + "[]]", "more than 1,048,576 lists and objects"),
        ("1" * 10_000, "digits"),
        ("{", "."),
    ],
)
def test_json_is_bounded(text: str, words: str, tmp_path: Path) -> None:
    for given in (text, text.encode()):
        with pytest.raises(ValueError, match=words):
            parse_json(given)


# --- arrays ---------------------------------------------------------------------------------------


def npy(descr: str, shape: str, content: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npy("'<i4'", "(1152921504606846976,)", b"1234"), "do not fit 4 bytes"),
        (npy("'<i4'", "(2, 1152921504606846976, 8)"), "do not fit 0 bytes"),
        (npy("'<i4'", "(-1,)", b"1234"), "do not fit"),
        (npy("'|O'", "(1,)", pickle.dumps([1])), "not a whole .npy file of numbers, but of object"),
        (npy("'|V99999999'", "(1,)"), "of numbers"),
        (npy("[('a', '<i4')]", "(1,)", b"1234"), "of numbers"),
        (npy("'<i4'", "(" * 3000), "not a whole .npy file"),
        (b"\x93NUMPY\x03\x00", "not a whole .npy file"),
        (b"", "not a whole .npy file"),
    ],
)
def test_arrays_are_within_their_file(tmp_path: Path, content: bytes, words: str, mapped: bool) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_npy(tmp_path / "a.npy", mapped=mapped)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_an_array_is_read_as_numpy_does(tmp_path: Path, shape: tuple[int, ...], mapped: bool) -> None:
    for order in "CF":
        array = np.asarray(np.random.default_rng(0).normal(size=shape), order=order)  # type: ignore[call-overload]
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(read_npy(tmp_path / "a.npy", mapped=mapped), array)


def safetensors(header: bytes, content: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + content


TENSOR = b'{"a": {"dtype": "F32", "shape": [%s], "data_offsets": [%s]}}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (safetensors(b"{}", length=1 << 60), "header has 1,152"),
        (safetensors(b"[" * 100_000), "nested too deep"),
        (safetensors(b"{" * 9_000_000), "more than 1,048,576 lists"),
        (
            safetensors(
                b'{"a": {"dtype": "F32", "shape": [1152921504606846976], "data_offsets": [0, 4]}}', b"abcd"
            ),
            ".",
        ),
        (safetensors(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}}', b"abcd"), "."),
        (safetensors(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}', b"abcd"), "."),
        (b"", "."),
    ],
)
def test_tensors_are_within_their_file(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a").write_bytes(content)
    for reader in (read_tensors, read_arrays):
        with pytest.raises(ValueError, match=words):
            reader(tmp_path / "a")


# --- zip files ------------------------------------------------------------------------------------


def bomb(path: Path, gigabytes: int = 4) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("policy.pth", "archive/data.pkl"):
            archive.writestr(name, b"\0" * 1000)
    content = path.read_bytes()
    for mark, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # a larger size, in both its places
        at = content.index(mark) + place
        content = content[:at] + struct.pack("<I", (gigabytes << 30) - 1) + content[at + 4 :]
    path.write_bytes(content)
    return path


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="would unpack to 4,29"), open_archive(bomb(tmp_path / "a")):
        pass
    with zipfile.ZipFile(tmp_path / "b", "w", zipfile.ZIP_DEFLATED) as archive:
        for part in range(9):
            archive.writestr(str(part), b"\0" * (10 << 20))
    with pytest.raises(ValueError, match="would unpack to 94,371,840"), open_archive(tmp_path / "b"):
        pass


def test_a_table_of_contents_beyond_any_real_one_is_refused(tmp_path: Path) -> None:
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<HHH", 0, 0, 0) + bytes(12)
    table = entry * (1 << 17)
    end = b"PK\x05\x06" + bytes(4) + struct.pack("<HHIIH", 0, 0, len(table), 0, 0)
    (tmp_path / "a").write_bytes(table + end)
    with pytest.raises(ValueError, match="table of contents of 6,"), open_archive(tmp_path / "a"):
        pass
    for content in (b"", b"no zip", end, end[:-1] + b"\xff", b"PK\x05\x06"):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(ValueError, match=r"zip file|entry"), open_archive(tmp_path / "a") as archive:
            read_entry(archive, "policy.pth")


def test_names_that_climb_write_nothing(tmp_path: Path) -> None:
    inner = tmp_path / "in"
    inner.mkdir()
    with zipfile.ZipFile(inner / "a.zip", "w") as archive:
        for name in ("../out", "/tmp/hrm_rl-out", "policy.pth"):
            archive.writestr(name, "x")
    with pytest.raises(ValueError):
        read_torch_file(inner / "a.zip")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "a.zip"]


def test_a_damaged_entry_is_found(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a")
    content = bytearray((tmp_path / "a").read_bytes())
    content[content.index(bytes(900)) + 500] ^= 1
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=r"entry a/data/0 is damaged: Bad CRC"):
        read_torch_file(tmp_path / "a")


# --- files of torch.save --------------------------------------------------------------------------


def test_what_torch_saved_is_read_as_torch_does(tmp_path: Path) -> None:
    shared = torch.arange(12.0)
    kinds = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    state = {
        "tensors": {kind: torch.ones(2, 3, dtype=getattr(torch, kind)) for kind in kinds},
        "shared": [shared, shared[3:7], shared.view(3, 4).T],
        "empty": torch.zeros(0, 5),
        "scalar": torch.tensor(3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "plain": [1, -(1 << 70), 2.5, "é", b"\xff\0", None, True, (1, (2,)), OrderedDict(a=1)],
        "size": torch.Size([1, 2]),
        "module": torch.nn.Linear(2, 3).state_dict(),
        "rng": torch.get_rng_state(),
    }
    for protocol in (2, 4):
        torch.save(state, tmp_path / "a", pickle_protocol=protocol)
        read = read_torch_file(tmp_path / "a")
        same = torch.load(tmp_path / "a", weights_only=protocol == 2)
        assert same_values(read, same)
    read["shared"][0][3] = -1.0  # writable, and shared as before
    assert read["shared"][1][0] == -1 and read["shared"][2][3, 0] == -1


def same_values(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same_values(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and all(map(same_values, one, other))
    return one == other


class Payload:
    def __init__(self, call: Any, *words: Any) -> None:
        self.made = call, words

    def __reduce__(self) -> Any:
        return self.made


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def with_pickle(content: bytes, **entries: bytes) -> bytes:
    """A file of torch.save with another pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", content)
        for name, value in entries.items():
            archive.writestr(f"a/data/{name.removeprefix('_')}", value)
    return file.getvalue()


@pytest.mark.parametrize("name", ["os.system", "builtins.exec", "subprocess.Popen", "pathlib.Path.touch"])
def test_no_name_in_a_pickle_is_looked_up(name: str, tmp_path: Path) -> None:
    import importlib

    module, _, function = name.partition(".")
    owner: Any = importlib.import_module(module)
    for part in function.split("."):
        owner = getattr(owner, part)
    trap = tmp_path / "trap"
    for word in (f"touch {trap}", trap):
        file = tmp_path / "file"
        for protocol in (0, 1, 2, 4):
            content = pickle.dumps({"a": Payload(owner, word)}, protocol)
            for whole in (with_pickle(content), content):
                file.write_bytes(whole)
                with pytest.raises(ValueError):
                    read_torch_file(file)
            file.write_bytes(with_pickle(content))
            (skipped,) = read_torch_file(file, skip_objects=True).values()
            assert isinstance(skipped, Skipped)
    assert not trap.exists()


def test_objects_beside_tensors_can_be_skipped(tmp_path: Path) -> None:
    """As a training checkpoint holds them, with the steps that fill them."""
    tensor = torch.arange(3.0)
    counts = collections.Counter("abba")
    held = {"random": np.random.get_state(), "carry": SimpleNamespace(z=tensor), "counts": counts}
    held |= {"paths": [tmp_path], "deque": collections.deque([1, 2]), "model": {"w": tensor}}
    for protocol in (2, 4):
        torch.save(held, tmp_path / "a", pickle_protocol=protocol)
        with pytest.raises(ValueError, match="holds objects"):
            read_torch_file(tmp_path / "a")
        found = read_torch_file(tmp_path / "a", skip_objects=True)
        assert torch.equal(found["model"]["w"], tensor)
        assert all(isinstance(found[name], Skipped) for name in ("carry", "counts", "deque"))


STORAGE = b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (saved(Payload(bytearray, 1 << 33)), "holds objects"),
        (with_pickle(b"\x80\x02cno.such.module\nname\n."), r"holds objects.*no\.such\.module"),
        (with_pickle(b"\x80\x02]r\xff\xff\xff\x7f."), "objects are damaged"),
        (with_pickle(b"\x80\x02" + b"]" * (1 << 19) + b"."), "more than 262,144 objects"),
        (with_pickle(b"\x80\x02(" + STORAGE + b"J\x00\x00\x00\x10tQ.", _0=b"1234"), "tensor 0 is cut short"),
        (with_pickle(b"\x80\x02(" + STORAGE + b"J\xff\xff\xff\xfftQ.", _0=b"1234"), "tensor 0 is cut short"),
        (with_pickle(b"\x80\x02\x8e" + struct.pack("<Q", 1 << 60) + b"."), "damaged"),
        (with_pickle(b"\x80\x02]" + b"2\x86" * 60 + b"."), "more than 262,144 objects"),
        (with_pickle(b"\x80\x02]q\x00h\x00a."), "more than 262,144 objects"),
        (with_pickle(b"\x82\x01."), "holds objects"),
        (with_pickle(b"garbage"), "damaged"),
        (with_pickle(b""), "damaged"),
    ],
)
def test_objects_of_a_file_are_bounded(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_torch_file(tmp_path / "a")


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((1 << 40,), (0,), 0),
        ((1 << 20, 1 << 40), (0, 0), 0),
        ((2,), (1,), 3),
        ((2,), (-1,), 1),
        ((4, 4), (1, 1), 0),
    ],
)
def test_tensors_take_no_more_than_their_entry(size: Any, stride: Any, offset: int, tmp_path: Path) -> None:
    flat = torch.ones(4)

    def rebuilt(storage: Any) -> Any:
        return (torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, OrderedDict()))

    class Tensor:
        def __reduce__(self) -> Any:
            return rebuilt(flat.storage())

    torch.save({"a": Tensor()}, tmp_path / "a")
    with pytest.raises(ValueError, match=r"larger than its entry|damaged"):
        read_torch_file(tmp_path / "a")


def test_the_steps_of_torchs_pickles_are_known(tmp_path: Path) -> None:
    """A later torch that saves otherwise is noticed here."""
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "a")
    with open_archive(tmp_path / "a") as archive:
        steps = [step.name for step, _, _ in pickletools.genops(read_entry(archive, "a/data.pkl"))]
    assert "BINPERSID" in steps and "GLOBAL" in steps


def test_the_readers_load_light() -> None:
    """Puzzles are read without torch."""
    code = "import sys, hrm_rl.stored.npy, hrm_rl.stored.archives; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
