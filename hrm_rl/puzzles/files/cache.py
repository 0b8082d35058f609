"""Large puzzle files, checked once: `read_csv_cached` keeps what it read as memory-mapped arrays.

Sudoku-Extreme's training file has 3.8 million lines. The first reading checks every one of them, a block
at a time, and writes arrays into a folder beside the file; later readings open that folder. Its key is the
file's size, its time of change and the version of this format. It holds nothing that the file does not
hold: delete it at any time.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.lib import format as npy

from hrm_rl.files import written_whole
from hrm_rl.puzzles.files.csv import CsvFormat, decode
from hrm_rl.puzzles.files.table import PuzzleTable

FORMAT_VERSION = 1

FamilyName = Literal["sudoku", "maze"]
_FAMILIES: tuple[FamilyName, ...] = get_args(FamilyName)
_HEADER = 128  # bytes; long enough for any shape, so that it can be written last
_ARRAYS: dict[str, tuple[str, int]] = {  # dtype and dimensions
    "inputs": ("|u1", 2),
    "labels": ("|u1", 2),
    "rating": ("<f4", 1),
    "lines": ("<i4", 1),
    "source_bytes": ("|u1", 1),
    "source_ends": ("<i8", 1),
}


def read_csv_cached(
    path: str | os.PathLike[str],
    family: FamilyName | None = None,
    size: int | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> PuzzleTable:
    """Read a file of puzzles; from the second time on in moments, without filling memory.

    Checks and refusals are those of `sudoku.read_csv` and `maze.read_csv`.

    Args:
        path: a CSV file with the columns source, question, answer, rating.
        family: "sudoku" or "maze"; None looks for a maze's goal in the first question.
        size: cells a side; None infers it from the first question.
        cache_dir: folder for caches; None is the file's own folder or, if that cannot be written,
            ``hrm_rl`` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache).

    Returns:
        The puzzles in file order.

    Raises:
        ValueError: anything wrong in the file (with file, line and field), an unknown family, or a file
            that changes while it is read.
        OSError: the file cannot be read, or no cache can be written.
    """
    path = Path(path)
    if family is not None and family not in _FAMILIES:
        raise ValueError(f"family must be one of {', '.join(_FAMILIES)}; got {family!r}")
    key, folders = _key(path), _folders(path, cache_dir)
    for folder in folders:
        table = _open(path, folder, key, family, size)
        if table is not None:
            return table
    problem = None
    for folder in folders:
        try:
            with written_whole(folder) as building:
                building.mkdir(parents=True)
                _build(path, building, key, family, size)
                if _key(path) != key:
                    raise ValueError(f"{path} was changed while it was read")
        except OSError as error:  # or another process was faster
            problem = error
        table = _open(path, folder, key, family, size)
        if table is not None:
            return table
    raise OSError(f"no cache of {path} can be written ({problem}); name a folder with cache_dir")


def _key(path: Path) -> dict[str, int]:
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
    return {"format": FORMAT_VERSION, "bytes": status.st_size, "modified": status.st_mtime_ns}


def _folders(path: Path, cache_dir: str | os.PathLike[str] | None) -> list[Path]:
    """Folders that may hold the cache, the preferred one first."""
    digest = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:12]
    name = f"{path.name}.{digest}.cache"
    if cache_dir is not None:
        return [Path(cache_dir) / name]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return [path.with_name(f".{path.name}.cache"), home / "hrm_rl" / name]


# --- writing -------------------------------------------------------------------------------------


class _Growing:
    """A .npy file that rows are appended to; its header is written when their number is known."""

    def __init__(self, folder: Path, name: str) -> None:
        self.dtype = np.dtype(_ARRAYS[name][0])
        self.file = open(folder / f"{name}.npy", "wb")  # noqa: SIM115 (closed by `finish`)
        self.file.write(bytes(_HEADER))
        self.rows = 0
        self.shape: tuple[int, ...] = ()

    def append(self, values: Any) -> None:
        array = np.ascontiguousarray(values, self.dtype)
        self.rows, self.shape = self.rows + len(array), array.shape[1:]
        self.file.write(array.tobytes())

    def finish(self) -> None:
        shape = (self.rows, *self.shape)
        fields = {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
        magic, text = npy.magic(1, 0), repr(fields).encode("ascii")
        room = _HEADER - len(magic) - 2
        self.file.seek(0)
        self.file.write(magic + room.to_bytes(2, "little") + text.ljust(room - 1) + b"\n")
        self.file.close()


def _build(
    path: Path, folder: Path, key: dict[str, int], family: FamilyName | None, size: int | None
) -> None:
    def format_of(question: str) -> CsvFormat:
        nonlocal family
        family = family or ("maze" if "G" in question else "sudoku")
        # By name: the families import this folder.
        form: CsvFormat = import_module(f"hrm_rl.puzzles.{family}.csv").csv_format(question, size)
        return form

    columns = {name: _Growing(folder, name) for name in _ARRAYS}
    named = 0
    try:
        for block in decode(path, format_of):
            names = [source.encode(errors="replace") for source in block.rows.sources]
            ends = named + np.cumsum([len(name) for name in names])
            columns["inputs"].append(block.inputs)
            columns["labels"].append(block.labels)
            columns["rating"].append(block.rows.ratings)
            columns["lines"].append(block.rows.lines)
            columns["source_bytes"].append(np.frombuffer(b"".join(names), np.uint8))
            columns["source_ends"].append(ends)
            named = int(ends[-1])
    finally:
        for column in columns.values():
            column.finish()
    inputs = columns["inputs"]
    about = key | {"family": family, "size": math.isqrt(inputs.shape[0]), "count": inputs.rows}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


# --- reading -------------------------------------------------------------------------------------


def _open(
    path: Path, folder: Path, key: dict[str, int], family: FamilyName | None, size: int | None
) -> PuzzleTable | None:
    """The cached puzzles; None without a cache of the file as it is, or with a damaged one."""
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        if {name: about[name] for name in key} != key:
            return None
        columns = {}
        for name, (dtype, dimensions) in _ARRAYS.items():
            if (folder / f"{name}.npy").stat().st_size == _HEADER:  # nothing to map
                columns[name] = np.zeros((0,) * dimensions, dtype)
                continue
            column = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            if column.dtype != np.dtype(dtype) or column.ndim != dimensions:
                return None
            columns[name] = column
        count = about["count"]
        if any(len(columns[name]) != count for name in _ARRAYS if name != "source_bytes"):
            return None
        # Another family or size than the cache has: read again, and so raise the proper message.
        if family not in (None, about["family"]) or size not in (None, about["size"]):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    named = len(columns["source_bytes"]) > 0
    return PuzzleTable(
        name=str(path),
        inputs=columns["inputs"],
        labels=columns["labels"],
        puzzle_identifiers=np.broadcast_to(np.int32(0), count),
        rating=columns["rating"],
        source_bytes=columns["source_bytes"] if named else None,
        source_ends=columns["source_ends"] if named else None,
        lines=columns["lines"],
    )
