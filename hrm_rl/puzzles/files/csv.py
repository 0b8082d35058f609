"""Puzzle files of every family: ``source,question,answer,rating``, one puzzle a line.

Question and answer hold one token a cell: a character each if the family has `CHARACTERS` (all but the
pointer chase and unique 3-SAT), a board also in rows or as a list, else the token's number, with spaces
between. ``?`` in an answer is a cell without a label. A blank rating means unrated. A family describes its
texts and its answers by a `CsvFormat`; Sudoku and maze infer the size from the first question.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_rl.puzzles.files.cell_text import NO_LABEL, CellText
from hrm_rl.puzzles.files.rows import Rows, read_rows, refuse, write_rows
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays

Check = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.bool_]]
"""`check(inputs [K, S], labels [K, S]) -> bool [K]`: which answers are right."""


@dataclass(frozen=True)
class CsvFormat:
    """What a family's files hold."""

    text: CellText
    check: Check | None = None
    """Which answers are right; None accepts any."""
    explain: Callable[[NDArray[np.int32], NDArray[np.int32]], str] = lambda inputs, labels: (
        "it does not solve its question"
    )


FormatOf = Callable[[str], CsvFormat]
"""The format of a file from its first question; ValueError if no puzzle of the family looks like that."""


Decoded = tuple[Rows, NDArray[Any], NDArray[Any]]
"""K checked puzzles of a file: as text, inputs [K, S] and labels [K, S]."""


def read_csv(
    path: str | os.PathLike[str],
    characters: str | None = None,
    check: Callable[[PuzzleArrays], NDArray[np.bool_]] | None = None,
) -> PuzzleArrays:
    """Read what `write_csv` wrote.

    Args:
        path: the file.
        characters: the family's, one a token; None reads numbers.
        check: which answers of a block of puzzles are right, bool [N], such as
            `lambda p: life.is_valid(p.inputs, p.labels, size=10, steps=4)`. None accepts any answer.

    Raises ValueError for a wrong form or an answer that `check` refuses, naming file, line and field; OSError
    if the file cannot be read.
    """
    judge = None if check is None else lambda inputs, labels: check(PuzzleArrays(inputs, labels))
    return read_puzzles(path, lambda question: CsvFormat(CellText(characters), judge))[0]


def write_csv(path: str | os.PathLike[str], arrays: PuzzleArrays, characters: str | None = None) -> None:
    """Write puzzles so that `read_csv` with the same `characters` gives them back, without identifiers.

    The file appears whole or not at all. Raises ValueError for a token without a character, OSError if the
    file cannot be written.
    """
    write_puzzles(path, arrays, CellText(characters))


def write_puzzles(path: str | os.PathLike[str], arrays: PuzzleArrays, text: CellText) -> None:
    """`write_csv` with the tokens written by `text`."""
    sources = arrays.source if arrays.source is not None else ("",) * len(arrays)
    texts = text.write_all(arrays.inputs), text.write_all(arrays.labels)
    write_rows(path, sources, *texts, arrays.rating)


def read_puzzles(
    path: str | os.PathLike[str], format_of: FormatOf, limit: int | None = None
) -> tuple[PuzzleArrays, NDArray[np.int64]]:
    """The puzzles of a file, at most `limit`, in file order, and the line of each, int64 [N].

    All lines are checked. ``source`` is None if the column is blank throughout. Errors as in `read_csv`.
    """
    kept: list[list[NDArray[Any]]] = []
    sources: list[str] = []
    for rows, *tokens in decode(path, format_of):
        room = slice(0, None if limit is None else max(0, limit - len(sources)))
        kept.append([part[room] for part in (*tokens, rows.ratings, rows.lines)])
        sources += rows.sources[room]
    inputs, labels, rating, lines = (np.concatenate(part) for part in zip(*kept, strict=True))
    source = tuple(sources) if any(sources) else None
    return PuzzleArrays(inputs, labels, rating=rating, source=source), lines


def decode(path: str | os.PathLike[str], format_of: FormatOf) -> Iterator[Decoded]:
    """The checked puzzles of a file, a block of lines at a time. Errors as in `read_csv`."""
    path = Path(path)
    form: CsvFormat | None = None
    cells = 0
    for rows in read_rows(path):
        if form is None:
            try:
                form = format_of(rows.questions[0])
                cells = int(form.text.lengths([form.text.on_one_line(rows.questions[0])])[0])
            except ValueError as error:
                refuse(path, int(rows.lines[0]), "question", str(error))
        unit = form.text.unit
        if cells == 0:
            refuse(path, int(rows.lines[0]), "question", f"no {unit}")
        inputs = _tokens(path, rows, "question", form.text, cells, f"puzzles before have {cells}")
        labels = _tokens(path, rows, "answer", form.text, cells, f"the question has {cells}")
        if (inputs == IGNORE_LABEL).any():
            row = int(np.argmax((inputs == IGNORE_LABEL).any(axis=1)))
            refuse(path, int(rows.lines[row]), "question", f"{NO_LABEL!r} is for answers only")
        if form.check is not None and not (right := form.check(inputs, labels)).all():
            row = int(np.argmin(right))
            reason = form.explain(inputs[row].astype(np.int32), labels[row].astype(np.int32))
            refuse(path, int(rows.lines[row]), "answer", reason)
        yield rows, inputs, labels


def _tokens(path: Path, rows: Rows, field: str, text: CellText, cells: int, wanted: str) -> NDArray[Any]:
    texts = rows.questions if field == "question" else rows.answers
    lengths = text.lengths(texts)
    if (lengths != cells).any():
        with contextlib.suppress(ValueError):
            texts = [text.on_one_line(one) for one in texts]
        lengths = text.lengths(texts)
    if (lengths != cells).any():
        row = int(np.argmax(lengths != cells))
        refuse(path, int(rows.lines[row]), field, f"{lengths[row]} {text.unit}; {wanted}")
    try:
        return text.read_all(texts)
    except ValueError:
        for row, one in enumerate(texts):
            try:
                text.read(one)
            except ValueError as error:
                refuse(path, int(rows.lines[row]), field, str(error))
        raise
