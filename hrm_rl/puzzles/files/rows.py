"""The four-column format ``source,question,answer,rating``, one puzzle a line, as text.

Reading yields a block of lines at a time, so a file of millions of puzzles takes the memory of one block.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NoReturn, TextIO

import numpy as np
from numpy.typing import NDArray

from hrm_rl.files import begins_with, check_replaces, open_text, written_whole

COLUMNS = ("source", "question", "answer", "rating")
# Names that columns have elsewhere; the others may be missing.
_ALIASES = {
    "question": ("quiz", "puzzle", "questions", "quizzes", "puzzles"),
    "answer": ("solution", "answers", "solutions"),
}
_FORM = (
    f"should be {','.join(COLUMNS)} (or quiz or puzzle, solution; source and rating may be missing), "
    "with commas, semicolons or tabs between"
)
_SEPARATORS = ",;\t"
_BLOCK = 1 << 22  # characters
_ROWS = 1 << 14  # lines of a block with quotes
_LONGEST_LINE = 1 << 24  # characters; a longer one counts as several
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Rows:
    """K lines of a file."""

    lines: NDArray[np.int64]  # [K]: line numbers, from 1
    sources: list[str]
    questions: list[str]
    answers: list[str]
    ratings: NDArray[np.float32]  # [K]; NaN for a blank


_Block = tuple[list[int], list[int], list[str]]
"""Lines that are not empty: their numbers, how many fields each has, and the fields in a row."""


def refuse(path: str | os.PathLike[str], line: int, field: str, reason: str) -> NoReturn:
    """Raise ValueError with file, line and field."""
    raise ValueError(f"{path}, line {line}, {field}: {reason}")


def read_rows(path: str | os.PathLike[str]) -> Iterator[Rows]:
    """The lines of a file, block by block; at least one line.

    The columns may stand in any order, with commas, semicolons or tabs between; further columns and empty
    lines are ignored, and source and rating may be missing. Bytes that are not UTF-8 become the replacement
    character, which no format accepts in a cell.

    Raises ValueError if the header lacks question or answer, a line has another number of fields, a quote
    stays open, or a rating is not a number; OSError if the file cannot be read.
    """
    path = Path(path)
    header: list[str] = []
    width, found = 0, False
    with open_text(path) as file:
        blocks = _blocks(path, file)
        for lines, widths, fields in blocks:
            if not header:
                width = widths.pop(0)
                header = _header(path, lines.pop(0), fields[:width])
                fields = fields[width:]
            if widths.count(width) < len(widths):
                _refuse_width(path, lines, widths, width, next(blocks, None) is None)
            if lines:
                found, numbers = True, np.array(lines)
                columns = (
                    fields[header.index(name) :: width] if name in header else [""] * len(lines)
                    for name in COLUMNS
                )
                sources, questions, answers, ratings = columns
                yield Rows(numbers, sources, questions, answers, _ratings(path, numbers, ratings))
    if not header:
        raise ValueError(f"{path} is empty; its first line {_FORM}")
    if not found:
        raise ValueError(f"{path} has a header and no puzzle")


def _blocks(path: Path, file: TextIO) -> Iterator[_Block]:
    before, mark = 0, ","
    while block := file.read(_BLOCK):
        block += file.readline(_LONGEST_LINE)
        if before == 0:
            first = next((line for line in block.splitlines() if line), "")
            mark = next((sign for sign in _SEPARATORS if sign in first), ",")
        if '"' in block:
            texts = chain(io.StringIO(block, newline=""), file)
            yield from _quoted_blocks(path, texts, before, mark)
            return
        if "\r" in block:
            block = block.replace("\r\n", "\n").replace("\r", "\n")
        rows = block.removesuffix("\n").split("\n")
        lines = list(range(before + 1, before + len(rows) + 1))
        before += len(rows)
        if "" in rows:
            lines = [line for line, row in zip(lines, rows, strict=True) if row]
            rows = [row for row in rows if row]
        if rows:
            yield lines, [row.count(mark) + 1 for row in rows], mark.join(rows).split(mark)


def _quoted_blocks(path: Path, texts: Iterator[str], before: int, mark: str) -> Iterator[_Block]:
    """`_blocks` by the csv module, for the rest of a file with quotes, after line `before`."""
    reader = csv.reader(texts, strict=True, delimiter=mark)
    try:
        numbered = ((before + reader.line_num, row) for row in reader if row)
        while block := list(islice(numbered, _ROWS)):
            lines, rows = [line for line, _ in block], [row for _, row in block]
            yield lines, list(map(len, rows)), list(chain.from_iterable(rows))
    except csv.Error as error:
        place = f"{path}, line {before + reader.line_num}"
        hint = f"; the first line {_FORM}" if before + reader.line_num == 1 else ""
        raise ValueError(f"{place}: {error}{hint}") from None


def _header(path: Path, line: int, header: list[str]) -> list[str]:
    """The header's names, those of `_ALIASES` in `COLUMNS`."""
    given = [name.strip().lower() for name in header]
    names, missing = list(given), []
    for column in COLUMNS:
        found = [name for name in given if name == column]
        found = found or [name for name in given if name in _ALIASES.get(column, ())]
        if len(found) > 1:
            raise ValueError(
                f"{path}, line {line}: {' and '.join(found)} may be the {column}; name one {column}"
            )
        if found:
            names[given.index(found[0])] = column
        elif column in _ALIASES:
            missing.append(column)
    if missing:
        shown = ",".join(given)[:80]
        if "\0" in shown or "\ufffd" in shown:
            raise ValueError(f"{path} is not a text file (unpack a .gz or .zip); its first line {_FORM}")
        lacks = f"the header lacks {', '.join(missing)}"
        raise ValueError(f"{path}, line {line}: {lacks}; it {_FORM}, and is {shown!r}")
    return names


def _refuse_width(
    path: Path, lines: list[int], widths: list[int], width: int, is_last_block: bool
) -> NoReturn:
    row = next(row for row, found in enumerate(widths) if found != width)
    is_cut = is_last_block and row == len(widths) - 1 and widths[row] < width
    hint = " (a truncated file?)" if is_cut else ""
    fields = f"{widths[row]} fields, the header has {width}"
    raise ValueError(f"{path}, line {lines[row]}: {fields}{hint}")


def _ratings(path: Path, lines: NDArray[np.int64], texts: list[str]) -> NDArray[np.float32]:
    known = {text: _number(text) for text in set(texts)}
    ratings = np.array([known[text] for text in texts])
    wrong = np.abs(ratings) > _LARGEST
    if wrong.any():
        row = int(np.argmax(wrong))
        reason = f"{texts[row].strip()[:40]!r} is not a number; leave it blank if unrated"
        refuse(path, int(lines[row]), "rating", reason)
    return ratings.astype(np.float32)


def _number(text: str) -> float:
    """NaN for a blank, infinity for anything that is not a number."""
    try:
        return float(text.strip() or "nan")
    except ValueError:
        return float("inf")


def check_csv_path(path: str | os.PathLike[str]) -> None:
    """Raise OSError or ValueError if a CSV at `path` would replace anything but one."""
    check_replaces(path, "a CSV of puzzles", begins_with(",".join(COLUMNS).encode()))


def write_rows(
    path: str | os.PathLike[str],
    sources: Iterable[str],
    questions: Iterable[str],
    answers: Iterable[str],
    ratings: NDArray[np.float32],
) -> None:
    """Write a file that `read_rows` reads; it appears whole or not at all.

    Raises OSError if it cannot be written, or would replace anything but a CSV of puzzles.
    """
    check_csv_path(path)
    rows = zip(sources, questions, answers, map(_rating_text, ratings), strict=True)
    with written_whole(path) as partial_file, open(partial_file, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def _rating_text(rating: np.float32) -> str:
    """Shortest text that reads back as the same float32; whole numbers without a point."""
    if np.isnan(rating):
        return ""
    return str(int(rating)) if rating == np.floor(rating) else str(rating)
