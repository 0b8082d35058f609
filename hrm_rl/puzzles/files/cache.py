"""Large puzzle files, checked once: `read_csv_cached` keeps what it read as memory-mapped arrays.

Sudoku-Extreme's training file has 3.8 million lines. The first reading checks every one of them, a block
at a time, and writes arrays into a folder beside the file; later ones open that folder. It is keyed by
the file's size and time of change and by the version of this format, and holds nothing that the file
does not say: delete it at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hrm_rl.puzzles.files.rows import Rows, read_rows, refuse
from hrm_rl.puzzles.files.table import PuzzleTable
from hrm_rl.puzzles.maze import csv as maze_csv
from hrm_rl.puzzles.sudoku import csv as sudoku_csv
from hrm_rl.puzzles.sudoku.check import is_valid
from hrm_rl.puzzles.sudoku.layout import BLANK, BOXES, check_size
from hrm_rl.puzzles.sudoku.text import parse_cells

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

Decoder = Callable[[Path, Rows, "int | None"], "tuple[int, NDArray[np.uint8], NDArray[np.uint8]]"]


def read_csv_cached(
    path: str | os.PathLike[str],
    family: FamilyName | None = None,
    size: int | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> PuzzleTable:
    """Reads a file of puzzles, the second time from a cache: in moments, and without filling memory.

    What is checked, and how it is refused, is as in `sudoku.read_csv` and `maze.read_csv`.

    Args:
        path: a CSV file with the columns source, question, answer, rating.
        family: "sudoku" or "maze"; None looks for walls or digits in the first question.
        size: cells a side; None infers it from the first question.
        cache_dir: folder for caches; None is the file's own folder, or, where that cannot be written,
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
    key = _key(path)
    for folder in _folders(path, cache_dir):
        table = _open(path, folder, key, family, size)
        if table is not None:
            return table
    for folder in _folders(path, cache_dir):
        try:
            building = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
            building.mkdir(parents=True)
        except OSError:
            continue  # try the next one
        try:
            _build(path, building, key, family, size)
            if _key(path) != key:
                raise ValueError(f"{path} was changed while it was read")
            _put(building, folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        table = _open(path, folder, key, family, size)
        assert table is not None, f"{folder} cannot be read back"
        return table
    raise OSError(f"no cache of {path} can be written; name a folder with cache_dir")


def _key(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"format": FORMAT_VERSION, "bytes": status.st_size, "modified": status.st_mtime_ns}


def _folders(path: Path, cache_dir: str | os.PathLike[str] | None) -> list[Path]:
    """Where a cache may be, the preferred place first."""
    digest = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:12]
    name = f"{path.name}.{digest}.cache"
    if cache_dir is not None:
        return [Path(cache_dir) / name]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return [path.with_name(f".{path.name}.cache"), home / "hrm_rl" / name]


def _put(building: Path, folder: Path) -> None:
    """Moves a finished cache into its place, in the stead of any older one."""
    old = folder.with_name(f"{folder.name}.{os.getpid()}.old")
    try:
        if folder.exists():
            os.rename(folder, old)
        os.rename(building, folder)
    except OSError:
        # Another process was faster: its cache is of the same file.
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


# --- writing -------------------------------------------------------------------------------------


class _Growing:
    """A .npy file that rows are appended to; its header is written when their number is known."""

    def __init__(self, folder: Path, name: str) -> None:
        self.dtype = np.dtype(_ARRAYS[name][0])
        self.file = open(folder / f"{name}.npy", "wb")  # noqa: SIM115 (closed by `finish`)
        self.file.write(bytes(_HEADER))
        self.rows, self.shape = 0, ()

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
    columns = {name: _Growing(folder, name) for name in _ARRAYS}
    named = 0
    try:
        for rows in read_rows(path):
            if family is None:
                family = "maze" if b"G" in rows.questions[0].tobytes() else "sudoku"
            size, inputs, labels = _DECODERS[family](path, rows, size)
            names = [source.encode(errors="replace") for source in rows.sources]
            ends = named + np.cumsum([len(name) for name in names])
            columns["inputs"].append(inputs)
            columns["labels"].append(labels)
            columns["rating"].append(rows.ratings)
            columns["lines"].append(rows.lines)
            columns["source_bytes"].append(np.frombuffer(b"".join(names), np.uint8))
            columns["source_ends"].append(ends)
            named = int(ends[-1])
    finally:
        for column in columns.values():
            column.finish()
    about = key | {"family": family, "size": size, "count": columns["inputs"].rows}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


# --- reading -------------------------------------------------------------------------------------


def _open(
    path: Path, folder: Path, key: dict[str, int], family: FamilyName | None, size: int | None
) -> PuzzleTable | None:
    """The cached puzzles; None where there is no cache of the file as it is, or a damaged one."""
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
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # Asked for something else than was read then: read again, for the message that this deserves.
    if family not in (None, about["family"]) or size not in (None, about["size"]):
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


# Token of each byte; 0 is "no such character", and "beyond the size" is seen by the number.
_SUDOKU_TOKENS = np.zeros(256, np.uint8)
_SUDOKU_TOKENS[[ord("."), ord("0")]] = BLANK
_SUDOKU_TOKENS[ord("1") : ord("9") + 1] = np.arange(1, 10) + BLANK


def _decode_sudoku(
    path: Path, rows: Rows, size: int | None
) -> tuple[int, NDArray[np.uint8], NDArray[np.uint8]]:
    """As `maze_csv.decode`."""
    cells = rows.questions.shape[1]
    wanted = [side for side in BOXES if side * side == cells]
    if size is None and not wanted:
        reason = f"{cells} characters; a 9x9 Sudoku has 81, 6x6 36, 4x4 16"
        refuse(path, int(rows.lines[0]), "question", reason)
    size = wanted[0] if size is None else check_size(size)
    if size * size != cells:
        reason = f"{cells} characters, {size}x{size} has {size * size}"
        refuse(path, int(rows.lines[0]), "question", reason)
    both = []
    for field, texts in (("question", rows.questions), ("answer", rows.answers)):
        tokens = _SUDOKU_TOKENS[texts]
        wrong = (tokens == 0) | (tokens > size + 1)
        if wrong.any():
            row = int(np.argmax(wrong.any(axis=1)))
            try:
                parse_cells(texts[row].tobytes().decode("latin-1"), size)
            except ValueError as error:
                refuse(path, int(rows.lines[row]), field, str(error))
            raise AssertionError("parse_cells accepts what the table refuses")
        both.append(tokens)
    right = is_valid(both[0], both[1].astype(np.int16), size)  # it shifts bits by digits
    if not right.all():
        row = int(np.argmin(right))
        inputs, answer = (tokens[row].astype(np.int32) for tokens in both)
        reason = sudoku_csv.what_is_wrong(inputs, answer, size)
        refuse(path, int(rows.lines[row]), "answer", reason)
    return size, both[0], both[1]


_DECODERS: dict[FamilyName, Decoder] = {"sudoku": _decode_sudoku, "maze": maze_csv.decode}
