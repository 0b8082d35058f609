"""Sudoku files in the format of Sudoku-Extreme: ``source,question,answer,rating``, a puzzle a line.

Reading checks every field of every line, with the whole file in a few array operations; only when
something is wrong is the line looked at for a message that names it.
"""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from hrm_rl.puzzles.files.rows import COLUMNS, write_rows
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.puzzles.sudoku.check import broken_units, find_clash, is_valid
from hrm_rl.puzzles.sudoku.layout import BLANK, as_tokens, cell_name, check_size, layout, unit_name
from hrm_rl.puzzles.sudoku.solve import solve
from hrm_rl.puzzles.sudoku.text import parse, parse_cells

# Token of each byte; 0 is "no such character", and "beyond the size" is seen by the number.
_TOKEN_OF_BYTE = np.zeros(256, np.uint8)
_TOKEN_OF_BYTE[[ord("."), ord("0")]] = BLANK
_TOKEN_OF_BYTE[ord("1") : ord("9") + 1] = np.arange(1, 10) + BLANK


def read_csv(
    path: str | os.PathLike[str],
    size: int | None = None,
    *,
    limit: int | None = None,
    unique: bool = False,
) -> PuzzleArrays:
    """Reads and checks a file of puzzles.

    Every answer must be a right grid that keeps its question's givens.

    Args:
        path: a CSV file with the columns source, question, answer, rating in any order; further ones
            are passed over. Blanks are '.' or '0'. A blank rating is NaN. Empty lines do not count.
        size: 4, 6 or 9; None infers it from the first question.
        limit: keep the first so many puzzles; None keeps all. All lines are checked for form.
        unique: solve every puzzle kept, and refuse one with several solutions.

    Returns:
        The puzzles in file order, identifiers 0; ``source`` is None where the column is blank
        throughout.

    Raises:
        ValueError: anything wrong in the file; the message names file, line and field.
        OSError: the file cannot be read.
    """
    if size is not None:
        size = check_size(size)
    path = Path(path)
    lines, fields = _read_fields(path)
    questions, answers = fields["question"], fields["answer"]
    if size is None:
        try:
            size = math.isqrt(parse(questions[0]).size)
        except ValueError as error:
            _refuse(path, lines[0], "question", str(error))
    inputs = _tokens(path, lines, "question", questions, size)
    labels = _tokens(path, lines, "answer", answers, size)
    right = is_valid(inputs, labels, size)
    if not right.all():
        row = int(np.argmin(right))
        _refuse(path, lines[row], "answer", what_is_wrong(inputs[row], labels[row], size))
    arrays = PuzzleArrays(
        inputs=inputs,
        labels=labels,
        puzzle_identifiers=np.zeros(len(lines), np.int32),
        rating=_ratings(path, lines, fields["rating"]),
        source=tuple(fields["source"]) if any(fields["source"]) else None,
    ).take(slice(0, limit))
    if unique:
        several = solve(arrays.inputs, size).solutions_found > 1
        if several.any():
            _refuse(
                path,
                lines[int(np.argmax(several))],
                "question",
                "this puzzle has several solutions",
            )
    return arrays


def _refuse(path: Path, line: int, field: str, reason: str) -> NoReturn:
    raise ValueError(f"{path}, line {line}, {field}: {reason}")


def _read_fields(path: Path) -> tuple[list[int], dict[str, list[str]]]:
    """Line numbers (from 1), and the text of every column in `COLUMNS`."""
    # Bytes that are no UTF-8 become a replacement character, which the checks then point at.
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, strict=True)
        rows: list[list[str]] = []
        lines: list[int] = []
        try:
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    if not rows:
        raise ValueError(f"{path} is empty; its first line should be {','.join(COLUMNS)}")
    header = [name.strip() for name in rows[0]]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise ValueError(
            f"{path}, line {lines[0]}: the header lacks {', '.join(missing)}; "
            f"it should be {','.join(COLUMNS)}, and is {','.join(header)[:80]!r}"
        )
    del rows[0], lines[0]
    if not rows:
        raise ValueError(f"{path} has a header and no puzzle")
    width = len(header)
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            cut = " (a truncated file?)" if line == lines[-1] and len(row) < width else ""
            raise ValueError(f"{path}, line {line}: {len(row)} fields, the header has {width}{cut}")
    columns = list(zip(*rows, strict=True))
    return lines, {name: list(columns[header.index(name)]) for name in COLUMNS}


def _tokens(
    path: Path, lines: list[int], field: str, texts: list[str], size: int
) -> NDArray[np.int32]:
    """Tokens int32 [N, S] of one column."""
    cells = size * size
    for row, text in enumerate(texts):
        if len(text) != cells:
            like = "" if row == 0 else f" like line {lines[0]}'s puzzle"
            _refuse(
                path, lines[row], field, f"{len(text)} characters, {size}x{size}{like} has {cells}"
            )
    # One byte a character: whatever Latin-1 cannot hold becomes '?', no digit either.
    data = "".join(texts).encode("latin-1", errors="replace")
    tokens = _TOKEN_OF_BYTE[np.frombuffer(data, np.uint8)].reshape(-1, cells)
    wrong = (tokens == 0) | (tokens > size + 1)
    if wrong.any():
        row = int(np.argmax(wrong.any(axis=1)))
        try:
            parse_cells(texts[row], size)
        except ValueError as error:
            _refuse(path, lines[row], field, str(error))
        raise AssertionError("parse_cells accepts what the table refuses")
    return tokens.astype(np.int32)


def what_is_wrong(question: NDArray[np.int32], answer: NDArray[np.int32], size: int) -> str:
    """Says why an answer is not the right grid for its question."""
    clash = find_clash(question, size)
    if clash:
        return f"no answer can be right: the question has {clash}"
    for cell in range(size * size):
        if answer[cell] == BLANK:
            return f"blank at {cell_name(cell, size)}"
        if question[cell] > BLANK and question[cell] != answer[cell]:
            given, found = question[cell] - BLANK, answer[cell] - BLANK
            return f"breaks its question: {found} for the given {given} at {cell_name(cell, size)}"
    clash = find_clash(answer, size)
    if clash:
        return f"is no valid grid: {clash}"
    units = np.flatnonzero(broken_units(answer, size))
    raise AssertionError(f"full grid without clash, yet broken: {unit_name(int(units[0]), size)}")


def _ratings(path: Path, lines: list[int], texts: list[str]) -> NDArray[np.float32]:
    """float32 [N]; NaN for a blank."""
    try:
        ratings = np.array([text or "nan" for text in texts], dtype=np.float32)
    except ValueError:
        ratings = np.full(len(texts), np.inf, np.float32)
    if not np.isinf(ratings).any():
        return ratings
    for row, text in enumerate(texts):
        text = text.strip()
        try:
            ratings[row] = float(text or "nan")
        except ValueError:
            ratings[row] = np.inf
        if np.isinf(ratings[row]):
            _refuse(path, lines[row], "rating", f"{text!r} is no number; leave it blank if unrated")
    return ratings


def write_csv(path: str | os.PathLike[str], arrays: PuzzleArrays, size: int = 9) -> None:
    """Writes puzzles so that `read_csv` gives them back; identifiers are not kept.

    The file appears whole or not at all: it is written beside `path` and moved into place.

    Raises:
        ValueError: unknown size, boards of another width, tokens beyond the size, or a label row that
            is not the right grid for its puzzle (says which).
        OSError: the file cannot be written.
    """
    size = layout(size).size
    inputs = as_tokens("inputs", arrays.inputs, size)
    right = is_valid(inputs, arrays.labels, size)
    if not right.all():
        raise ValueError(
            f"labels of puzzle {int(np.argmin(right))} are no right grid for its inputs"
        )
    sources = arrays.source if arrays.source is not None else ("",) * len(arrays)
    write_rows(path, sources, _texts(inputs), _texts(arrays.labels), arrays.rating)


def _texts(tokens: NDArray[np.int32]) -> list[str]:
    """`to_text` of every row of tokens [N, S]."""
    characters = np.frombuffer(b"..123456789", np.uint8)[tokens]
    return [row.tobytes().decode("ascii") for row in characters]
