"""Reading puzzle files a block at a time: ``source,question,answer,rating``, a puzzle a line.

The files of the reference have up to millions of lines. Blocks of plain ASCII without quotes are taken
apart by a few array operations; from the first other block on, Python's csv module reads. Either way
memory is that of a block, and whatever is wrong is said with file, line and field.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("source", "question", "answer", "rating")
_BLOCK = 1 << 22  # bytes
_ROWS = 1 << 14  # of the slow reader at a time
_LONGEST_LINE = 1 << 24
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Rows:
    """Some lines of a file: K puzzles of S cells."""

    lines: NDArray[np.int64]  # [K]: line numbers, from 1
    sources: list[str]  # [K]
    questions: NDArray[np.uint8]  # [K, S]: bytes of the characters
    answers: NDArray[np.uint8]  # [K, S]
    ratings: NDArray[np.float32]  # [K]; NaN for a blank


def refuse(path: Path, line: int, field: str, reason: str) -> NoReturn:
    """Raises ValueError with file, line and field."""
    raise ValueError(f"{path}, line {line}, {field}: {reason}")


def read_rows(path: str | os.PathLike[str]) -> Iterator[Rows]:
    """The puzzles of a file, block by block; all of one number of cells, at least one puzzle.

    The columns may stand in any order; further ones are passed over, and empty lines do not count.

    Raises:
        ValueError: the form is wrong: header, number of fields, lengths, a rating that is no number.
        OSError: the file cannot be read.
    """
    path = Path(path)
    cells: int | None = None
    with open(path, "rb") as file:
        columns, width, line = _header(path, file)
        order = tuple(columns[name] for name in COLUMNS)
        for rows in _blocks(path, file, order, width, line):
            if cells is None:
                cells = rows.questions.shape[1]
            elif rows.questions.shape[1] != cells:
                _lengths(path, rows.lines[:1], "question", [rows.questions.shape[1]], cells)
            yield rows
    if cells is None:
        raise ValueError(f"{path} has a header and no puzzle")


def _header(path: Path, file: BinaryIO) -> tuple[dict[str, int], int, int]:
    """Place of each column, number of columns, and the number of the header's line."""
    line = 0
    while True:
        data = file.readline(_LONGEST_LINE)
        line += 1
        if not data:
            raise ValueError(f"{path} is empty; its first line should be {','.join(COLUMNS)}")
        inner = data.rstrip(b"\r\n").find(b"\r")
        if inner >= 0:  # lines end in it
            file.seek(inner + 1 - len(data), os.SEEK_CUR)
            data = data[:inner]
        text = data.decode("utf-8-sig" if line == 1 else "utf-8", errors="replace").strip("\r\n")
        if text:
            break
    try:
        header = [name.strip() for name in next(csv.reader([text], strict=True))]
    except csv.Error as error:
        raise ValueError(f"{path}, line {line}: {error}") from None
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise ValueError(
            f"{path}, line {line}: the header lacks {', '.join(missing)}; "
            f"it should be {','.join(COLUMNS)}, and is {','.join(header)[:80]!r}"
        )
    return {name: header.index(name) for name in COLUMNS}, len(header), line


def _blocks(
    path: Path, file: BinaryIO, order: tuple[int, ...], width: int, line: int
) -> Iterator[Rows]:
    """`line` is the number of the last line read; `order` the places of `COLUMNS`."""
    rest, numbers = b"", _Numbers(path)
    while True:
        start = file.tell() - len(rest)
        data = file.read(_BLOCK)
        block = rest + data
        cut = block.rfind(b"\n") + 1 if data else len(block)
        block, rest = block[:cut], block[cut:]
        if len(rest) > _LONGEST_LINE:
            raise ValueError(f"{path}, line {line + block.count(10) + 1} has no end")
        lone_returns = block.count(b"\r") != block.count(b"\r\n")
        if b'"' in block or lone_returns or not block.isascii():
            file.seek(start)
            yield from _slowly(path, file, order, width, line, numbers)
            return
        if block:
            rows = _quickly(path, block, order, width, line, numbers, last=not data)
            line += block.count(b"\n")
            if rows is not None:
                yield rows
        if not data:
            return


def _quickly(
    path: Path,
    block: bytes,
    order: tuple[int, ...],
    width: int,
    line: int,
    numbers: _Numbers,
    last: bool,
) -> Rows | None:
    """Whole lines without quotes; None where all are empty."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    if block[-1:] != b"\n":
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1])
    ends = ends - ((ends > starts) & (data[ends - 1] == ord("\r")))
    lines = line + 1 + np.arange(len(ends))
    full = ends > starts
    starts, ends, lines = starts[full], ends[full], lines[full]
    if not len(lines):
        return None
    commas = np.flatnonzero(data == ord(","))
    fields = np.searchsorted(commas, ends) - np.searchsorted(commas, starts) + 1
    if (fields != width).any():
        row = int(np.argmax(fields != width))
        _wrong_width(path, int(lines[row]), int(fields[row]), width, last and row == len(lines) - 1)
    inner = commas.reshape(-1, width - 1)
    firsts = np.concatenate([starts[:, None], inner + 1], axis=1)  # [K, width]
    lasts = np.concatenate([inner, ends[:, None]], axis=1)
    texts: list[NDArray[np.uint8]] = []
    for field in (1, 2):
        first, length = firsts[:, order[field]], (lasts - firsts)[:, order[field]]
        cells = _lengths(
            path, lines, COLUMNS[field], length, None if field == 1 else len(texts[0].T)
        )
        texts.append(data[first[:, None] + np.arange(cells)])
    places = zip(
        *(edge[:, order[k]].tolist() for k in (0, 3) for edge in (firsts, lasts)), strict=True
    )
    names: dict[bytes, str] = {}
    sources, ratings = [], np.empty(len(lines), np.float32)
    for row, (first, end, rating_first, rating_end) in enumerate(places):
        name = block[first:end]
        sources.append(names.get(name) or names.setdefault(name, name.decode(errors="replace")))
        ratings[row] = numbers.read(block[rating_first:rating_end], lines, row)
    return Rows(lines, sources, texts[0], texts[1], ratings)


def _slowly(
    path: Path, file: BinaryIO, order: tuple[int, ...], width: int, line: int, numbers: _Numbers
) -> Iterator[Rows]:
    """The rest of the file by the csv module, from where `file` stands, after line `line`."""
    # Bytes that are no UTF-8 become a replacement character, which the checks then point at.
    text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
    reader = csv.reader(text, strict=True)
    lines: list[int] = []
    kept: list[list[str]] = []
    cells: int | None = None
    try:
        more = True
        while more:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise ValueError(f"{path}, line {line + reader.line_num}: {error}") from None
            more = row is not None
            if row:
                if len(row) != width:
                    number = line + reader.line_num
                    _wrong_width(path, number, len(row), width, _is_at_end(reader))
                lines.append(line + reader.line_num)
                kept.append(row)
            if kept and (not more or len(kept) == _ROWS):
                places = np.array(lines)
                columns = [[row[k] for row in kept] for k in order]
                texts = []
                for field in (1, 2):
                    lengths = [len(text) for text in columns[field]]
                    cells = _lengths(path, places, COLUMNS[field], lengths, cells)
                    # Whatever Latin-1 cannot hold becomes '?', no cell of any puzzle either.
                    joined = "".join(columns[field]).encode("latin-1", errors="replace")
                    texts.append(np.frombuffer(joined, np.uint8).reshape(len(kept), cells))
                ratings = [numbers.read(t.encode(), places, k) for k, t in enumerate(columns[3])]
                yield Rows(places, columns[0], texts[0], texts[1], np.array(ratings, np.float32))
                lines, kept = [], []
    finally:
        text.detach()


def _is_at_end(reader: Iterator[list[str]]) -> bool:
    try:
        return not any(reader)
    except csv.Error:
        return False


def _lengths(
    path: Path,
    lines: NDArray[np.int64],
    field: str,
    lengths: NDArray[np.int64] | list[int],
    cells: int | None,
) -> int:
    """The one length of all, `cells` if given."""
    lengths = np.asarray(lengths)
    wanted = int(lengths[0]) if cells is None else cells
    if (lengths != wanted).any():
        row = int(np.argmax(lengths != wanted))
        reason = f"{lengths[row]} characters, where puzzles before have {wanted}"
        if field == "answer":
            reason = f"{lengths[row]} characters, the question has {wanted}"
        refuse(path, int(lines[row]), field, reason)
    if wanted == 0:
        refuse(path, int(lines[0]), field, "no characters")
    return wanted


def _wrong_width(path: Path, line: int, fields: int, width: int, at_end: bool) -> NoReturn:
    cut = " (a truncated file?)" if at_end and fields < width else ""
    raise ValueError(f"{path}, line {line}: {fields} fields, the header has {width}{cut}")


class _Numbers:
    """Reads ratings; most are the same few texts."""

    def __init__(self, path: Path) -> None:
        self.path, self.known = path, {b"": float("nan")}

    def read(self, text: bytes, lines: NDArray[np.int64], row: int) -> float:
        value = self.known.get(text)
        if value is None:
            try:
                value = float(text.strip() or "nan")
            except ValueError:
                value = float("inf")
            if abs(value) > _LARGEST:
                shown = text.decode(errors="replace").strip()
                reason = f"{shown[:40]!r} is no number; leave it blank if unrated"
                refuse(self.path, int(lines[row]), "rating", reason)
            if len(self.known) < 100_000:
                self.known[text] = value
        return value


def write_rows(
    path: str | os.PathLike[str],
    sources: Iterable[str],
    questions: Iterable[str],
    answers: Iterable[str],
    ratings: NDArray[np.float32],
) -> None:
    """Writes a file that `read_rows` reads. It appears whole or not at all.

    Raises OSError where it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(
                zip(sources, questions, answers, map(_rating_text, ratings), strict=True)
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _rating_text(rating: np.float32) -> str:
    """Shortest text that reads back as the same float32; whole numbers without a point."""
    if np.isnan(rating):
        return ""
    return str(int(rating)) if rating == np.floor(rating) else str(rating)
