"""Maze files in the format of Maze-Hard: ``source,question,answer,rating``, a maze a line.

A 30x30 maze is 900 characters of ``# SG``, its answer the same with ``o`` on the way.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hrm_rl.puzzles.family import as_tokens
from hrm_rl.puzzles.files.rows import Rows, read_rows, refuse, write_rows
from hrm_rl.puzzles.maze.check import is_valid, what_is_wrong
from hrm_rl.puzzles.maze.layout import CHARACTERS, SIZES, VOCAB_SIZE, WALL, check
from hrm_rl.puzzles.maze.text import parse
from hrm_rl.puzzles.pool import PuzzleArrays

# Token of each byte; 0 is "no such character".
_TOKEN_OF_BYTE = np.zeros(256, np.uint8)
_TOKEN_OF_BYTE[list(CHARACTERS[WALL:].encode())] = np.arange(WALL, VOCAB_SIZE)


def read_csv(
    path: str | os.PathLike[str], size: int | None = None, *, limit: int | None = None
) -> PuzzleArrays:
    """Reads and checks a file of mazes.

    Every answer must be its maze with a shortest path drawn; which one of several is the file's choice.

    Args:
        path: a CSV file with the columns source, question, answer, rating in any order; further ones
            are passed over. A blank rating is NaN. Empty lines do not count.
        size: cells a side; None infers it from the first question.
        limit: keep the first so many mazes; None keeps all. All lines are checked.

    Returns:
        The mazes in file order, identifiers 0; ``source`` is None where the column is blank throughout.

    Raises:
        ValueError: anything wrong in the file; the message names file, line and field.
        OSError: the file cannot be read.
    """
    if size is not None:
        size = check(size)
    inputs, labels, ratings = [], [], []
    sources: list[str] = []
    kept = 0
    for rows in read_rows(path):
        size, questions, answers = decode(Path(path), rows, size)
        room = len(questions) if limit is None else max(0, limit - kept)
        inputs.append(questions[:room])
        labels.append(answers[:room])
        ratings.append(rows.ratings[:room])
        sources.extend(rows.sources[:room])
        kept = len(sources)
    return PuzzleArrays(
        inputs=np.concatenate(inputs),
        labels=np.concatenate(labels),
        puzzle_identifiers=np.zeros(kept, np.int32),
        rating=np.concatenate(ratings),
        source=tuple(sources) if any(sources) else None,
    )


def decode(
    path: Path, rows: Rows, size: int | None
) -> tuple[int, NDArray[np.uint8], NDArray[np.uint8]]:
    """The size (inferred where None), and checked tokens of questions and answers, uint8 [K, S] each.

    Raises ValueError naming file, line and field.
    """
    cells = rows.questions.shape[1]
    if size is None:
        size = math.isqrt(cells)
        if size * size != cells or size not in SIZES:
            reason = f"{cells} characters; a maze has size * size, for a size of {SIZES[0]} to {SIZES[-1]}"
            refuse(path, int(rows.lines[0]), "question", reason)
    elif size * size != cells:
        reason = f"{cells} characters; a {size}x{size} maze has {size * size}"
        refuse(path, int(rows.lines[0]), "question", reason)
    both = []
    for field, texts in (("question", rows.questions), ("answer", rows.answers)):
        tokens = _TOKEN_OF_BYTE[texts]
        if not tokens.all():
            row = int(np.argmin(tokens.all(axis=1)))
            try:
                parse(texts[row].tobytes().decode("latin-1"), size)
            except ValueError as error:
                refuse(path, int(rows.lines[row]), field, str(error))
            raise AssertionError("parse accepts what the table refuses")
        both.append(tokens)
    right = is_valid(both[0], both[1], size)
    if not right.all():
        row = int(np.argmin(right))
        inputs, answer = (tokens[row].astype(np.int32) for tokens in both)
        refuse(path, int(rows.lines[row]), "answer", what_is_wrong(inputs, answer, size))
    return size, both[0], both[1]


def write_csv(path: str | os.PathLike[str], arrays: PuzzleArrays, size: int = 30) -> None:
    """Writes mazes so that `read_csv` gives them back; identifiers are not kept.

    The file appears whole or not at all.

    Raises:
        ValueError: a size out of range, mazes of another width, unknown tokens, or a label row that is
            not its maze with a shortest path (says which).
        OSError: the file cannot be written.
    """
    size = check(size)
    right = is_valid(arrays.inputs, arrays.labels, size)
    if not right.all():
        row = int(np.argmin(right))
        reason = what_is_wrong(arrays.inputs[row], arrays.labels[row], size)
        raise ValueError(f"the label of puzzle {row} {reason}")
    sources = arrays.source if arrays.source is not None else ("",) * len(arrays)
    texts = (_texts(arrays.inputs, size), _texts(arrays.labels, size))
    write_rows(path, sources, *texts, arrays.rating)


def _texts(tokens: NDArray[np.int32], size: int) -> list[str]:
    """`maze_text.to_text` of every row of tokens [N, S]."""
    characters = np.frombuffer(CHARACTERS.encode(), np.uint8)
    rows = characters[as_tokens("tokens", tokens, size * size, VOCAB_SIZE)]
    return [row.tobytes().decode("ascii") for row in rows]
