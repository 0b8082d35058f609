"""Large puzzle files, checked once: `read_csv_cached` keeps what it read as memory-mapped arrays.

Sudoku-Extreme's training file has 3.8 million lines. The first reading checks every one of them, a block
at a time, and writes arrays into a folder beside the file; later readings open that folder. Its key is the
file's size, its time of change and the version of this format. It holds nothing that the file does not
hold: delete it at any time.
"""

import hashlib
import json
import math
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hrm_rl.files import cache_folders, open_regular, read_text, write_text, written_whole
from hrm_rl.puzzles import find_family
from hrm_rl.puzzles.files.csv import CsvFormat, decode
from hrm_rl.puzzles.files.table import PuzzleTable
from hrm_rl.stored.text import parse_json

FORMAT_VERSION = 2

FamilyName = Literal["sudoku", "maze"]
_FAMILIES: tuple[FamilyName, ...] = get_args(FamilyName)
_DTYPES = {
    "inputs": "u1",
    "labels": "u1",
    "rating": "<f4",
    "lines": "<i4",
    "source_bytes": "u1",
    "source_ends": "<i8",
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
            ``hrm_rl`` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache), or a temporary folder.

    Raises ValueError for anything wrong in the file (with file, line and field), an unknown family, or a
    file that changes while it is read; OSError if it cannot be read, or no cache can be written.
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
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
    return {"format": FORMAT_VERSION, "bytes": status.st_size, "modified": status.st_mtime_ns}


def _folders(path: Path, cache_dir: str | os.PathLike[str] | None) -> list[Path]:
    """Folders that may hold the cache, the preferred one first."""
    digest = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:12]
    name = f"{path.name}.{digest}.cache"
    if cache_dir is not None:
        return [Path(cache_dir) / name]
    return [path.with_name(f".{path.name}.cache"), *(place / name for place in cache_folders())]


def _build(
    path: Path, folder: Path, key: dict[str, int], family: FamilyName | None, size: int | None
) -> None:
    """Write a file of numbers for each array, and about.json with their shapes."""

    def format_of(question: str) -> CsvFormat:
        nonlocal family
        family = family or ("maze" if "G" in question else "sudoku")
        kind: Any = find_family(family)
        form: CsvFormat = kind.of_length(len(kind.cells(question)), size).csv_format(path)
        return form

    count = named = side = 0
    with ExitStack() as stack:
        files = {name: stack.enter_context(open(folder / name, "wb")) for name in _DTYPES}
        for rows, inputs, labels in decode(path, format_of):
            names = [source.encode(errors="replace") for source in rows.sources]
            ends = named + np.cumsum([len(name) for name in names])
            arrays = {
                "inputs": inputs,
                "labels": labels,
                "rating": rows.ratings,
                "lines": rows.lines,
                "source_bytes": np.frombuffer(b"".join(names), np.uint8),
                "source_ends": ends,
            }
            for name, array in arrays.items():
                files[name].write(array.astype(_DTYPES[name]).tobytes())
            count, named = count + len(names), int(ends[-1])
            side = math.isqrt(inputs.shape[1])
    about = key | {"family": family, "size": side, "count": count, "source_bytes": named}
    write_text(folder / "about.json", json.dumps(about))


def _open(
    path: Path, folder: Path, key: dict[str, int], family: FamilyName | None, size: int | None
) -> PuzzleTable | None:
    """The cached puzzles; None without a cache of the file as it is, or with a damaged one."""
    try:
        about = parse_json(read_text(folder / "about.json"))
        # Another family or size than the cache has: read again, and so raise the proper message.
        same = {name: about[name] for name in key} == key
        if not same or family not in (None, about["family"]) or size not in (None, about["size"]):
            return None
        count, named = about["count"], about["source_bytes"]
        shapes = {"inputs": (count, about["size"] ** 2), "source_bytes": (named,)}
        shapes["labels"] = shapes["inputs"]
        arrays: dict[str, Any] = {name: _mapped(folder, name, shapes.get(name, (count,))) for name in _DTYPES}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    sources = {name: arrays.pop(name) for name in ("source_bytes", "source_ends")}
    return PuzzleTable(
        name=str(path),
        puzzle_identifiers=np.broadcast_to(np.int32(0), count),
        **arrays,
        **(sources if named else {}),
    )


def _mapped(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """One of the arrays; ValueError if its file is not of that shape's size."""
    dtype = np.dtype(_DTYPES[name])
    if (folder / name).stat().st_size != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} is damaged")
    if not math.prod(shape):  # nothing to map
        return np.zeros(shape, dtype)
    return np.memmap(folder / name, dtype, "r", shape=shape)
