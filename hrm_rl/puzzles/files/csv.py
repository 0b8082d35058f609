"""Files of the families without a format of their own: ``source,question,answer,rating``, a puzzle a line.

Question and answer have a token a cell: one character each where the family has `CHARACTERS` (all but
the pointer chase and unique 3-SAT), else the token's number, with spaces between. ``?`` in an answer is a
cell that is not asked for. A blank rating is not known.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hrm_rl.puzzles.files.rows import COLUMNS, refuse, write_rows
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays

UNASKED = "?"


def write_csv(
    path: str | os.PathLike[str], arrays: PuzzleArrays, characters: str | None = None
) -> None:
    """Writes puzzles so that `read_csv` gives them back; identifiers are not kept.

    The file appears whole or not at all.

    Args:
        path: the file.
        arrays: the puzzles.
        characters: the family's, one a token; None writes numbers.

    Raises:
        ValueError: a token without a character.
        OSError: the file cannot be written.
    """
    sources = arrays.source if arrays.source is not None else ("",) * len(arrays)
    questions = [to_text(row, characters) for row in arrays.inputs]
    answers = [to_text(row, characters) for row in arrays.labels]
    write_rows(path, sources, questions, answers, arrays.rating)


def read_csv(
    path: str | os.PathLike[str],
    characters: str | None = None,
    check: Callable[[PuzzleArrays], NDArray[np.bool_]] | None = None,
) -> PuzzleArrays:
    """Reads what `write_csv` wrote.

    Args:
        path: the file.
        characters: the family's, one a token; None reads numbers.
        check: says of each puzzle whether its answer is right, bool [N]: mostly the family's `is_valid`,
            `lambda p: life.is_valid(p.inputs, p.labels, size=10, steps=4)`. Without it any answer passes.

    Raises:
        ValueError: anything wrong in the form, or an answer that `check` refuses; the message names
            file, line and field.
        OSError: the file cannot be read.
    """
    path = Path(path)
    both: tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]] = ([], [])
    sources, ratings, lines = [], [], []
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path}, line 1: the header lacks {', '.join(missing)}; "
                f"it should be {','.join(COLUMNS)}"
            )
        for row in reader:
            if any(row[name] is None for name in COLUMNS):
                raise ValueError(f"{path}, line {reader.line_num}: too few fields")
            for field, rows in zip(("question", "answer"), both, strict=True):
                try:
                    rows.append(from_text(row[field], characters))
                except ValueError as error:
                    refuse(path, reader.line_num, field, str(error))
                if len(rows[-1]) != len(both[0][0]):
                    reason = f"{len(rows[-1])} cells; the first puzzle has {len(both[0][0])}"
                    refuse(path, reader.line_num, field, reason)
            if (both[0][-1] == IGNORE_LABEL).any():
                refuse(path, reader.line_num, "question", f"{UNASKED!r} is for answers only")
            sources.append(row["source"])
            lines.append(reader.line_num)
            try:
                ratings.append(float(row["rating"] or "nan"))
            except ValueError:
                refuse(path, reader.line_num, "rating", f"{row['rating']!r} is no number")
    if not sources:
        raise ValueError(f"{path} has no puzzle")
    puzzles = PuzzleArrays(
        inputs=np.stack(both[0]),
        labels=np.stack(both[1]),
        puzzle_identifiers=np.zeros(len(sources), np.int32),
        rating=np.array(ratings, np.float32),
        source=tuple(sources) if any(sources) else None,
    )
    if check is not None and not (right := check(puzzles)).all():
        refuse(path, lines[int(np.argmin(right))], "answer", "it does not solve its question")
    return puzzles


def to_text(tokens: NDArray[np.int32], characters: str | None = None) -> str:
    """Tokens or labels [S] as `characters`, or as numbers; ValueError for one without a character."""
    if characters is None:
        return " ".join(UNASKED if t == IGNORE_LABEL else str(t) for t in tokens.tolist())
    for token in np.unique(tokens):
        if token != IGNORE_LABEL and not 0 <= token < len(characters):
            raise ValueError(
                f"token {token} has no character; there are 0 to {len(characters) - 1}"
            )
    return "".join(UNASKED if t == IGNORE_LABEL else characters[t] for t in tokens.tolist())


def from_text(text: str, characters: str | None = None) -> NDArray[np.int32]:
    """The inverse of `to_text`; ValueError naming what stands where no token should."""
    words = text.split() if characters is None else list(text)
    tokens = []
    for cell, word in enumerate(words):
        if word == UNASKED:
            tokens.append(IGNORE_LABEL)
        elif characters is not None and word in characters:
            tokens.append(characters.index(word))
        elif characters is None and word.isdecimal() and len(word) < 10:
            tokens.append(int(word))
        else:
            known = "numbers" if characters is None else f"the characters {characters!r}"
            raise ValueError(f"cell {cell + 1} is {word!r}; tokens are {known}, or {UNASKED!r}")
    return np.array(tokens, np.int32)
