"""The one CSV format: round trips, variants that are read too, and refusals by file, line and field."""

import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrm_rl.puzzles import IGNORE_LABEL, PuzzleArrays, maze, sudoku
from hrm_rl.puzzles.files import rows as files_rows
from hrm_rl.puzzles.files.cache import read_csv_cached
from hrm_rl.puzzles.files.csv import read_csv, write_csv

HEADER = "source,question,answer,rating\n"
SUDOKU = (".....4.1..2....4", "1342243141233214")
MAZE = ("S  # # # # G    ", "Soo# #o# #oG    ")
QUESTION, ANSWER = SUDOKU


def line(question: str, answer: str, rating: str = "3", source: str = "mine") -> str:
    return f"{source},{question},{answer},{rating}\n"


GOOD, GOOD_MAZE = line(*SUDOKU), line(*MAZE)


def some_sudokus(size: int, count: int = 10) -> PuzzleArrays:
    return sudoku.generate(count, size, rate=True)


def some_mazes(size: int, count: int = 10) -> PuzzleArrays:
    return maze.generate(count, size, perfect=True, rate=True)


def assert_same(read: PuzzleArrays, given: PuzzleArrays) -> None:
    for name in ("inputs", "labels", "puzzle_identifiers", "rating"):
        np.testing.assert_array_equal(getattr(read, name), getattr(given, name))
    assert read.source == given.source


@pytest.mark.parametrize(
    ("family", "make", "size"),
    [(sudoku, some_sudokus, size) for size in sudoku.SIZES] + [(maze, some_mazes, 3), (maze, some_mazes, 30)],
)
def test_round_trip(
    family: Any, make: Any, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_rows, "_BLOCK", 300)  # so that there are several blocks
    monkeypatch.setattr(files_rows, "_ROWS", 3)
    puzzles = make(size)
    rating = puzzles.rating.copy()
    rating[2:5] = np.nan, 1 / 3, 1e-7
    names = ("", "ä", *"cdefghij")
    path = tmp_path / "puzzles.csv"
    for sources in (names, ('a "quoted", name', "two\nlines", *names[2:]), None):
        given = PuzzleArrays(puzzles.inputs, puzzles.labels, None, rating, sources)
        family.write_csv(path, given, size)
        assert_same(family.read_csv(path), given)
        assert_same(family.read_csv(str(path), size), given)
        assert_same(family.read_csv(path, limit=4), given.take(slice(4)))
    assert os.listdir(tmp_path) == ["puzzles.csv"]


def test_a_line_is_as_in_the_reference(tmp_path: Path) -> None:
    for family, text in ((sudoku, SUDOKU), (maze, MAZE)):
        arrays = PuzzleArrays(*(family.parse(part)[None] for part in text), None, [5.0])
        family.write_csv(tmp_path / "p.csv", arrays, 4)
        assert (tmp_path / "p.csv").read_text() == f"{HEADER},{text[0]},{text[1]},5\n"


@pytest.mark.parametrize("characters", ["_ab", None])
def test_cells_without_a_label_and_two_digit_tokens(characters: str | None, tmp_path: Path) -> None:
    top = 2 if characters else 12
    arrays = PuzzleArrays([[0, 1, top], [1, 1, 0]], [[IGNORE_LABEL, top, 1], [1, 0, IGNORE_LABEL]])
    write_csv(tmp_path / "p.csv", arrays, characters)
    assert_same(read_csv(tmp_path / "p.csv", characters), arrays)
    if characters:
        arrays.labels[0, 0] = 3
        with pytest.raises(ValueError, match="token 3 has no character; there are 0 to 2"):
            write_csv(tmp_path / "p.csv", arrays, characters)


@pytest.mark.parametrize(("family", "text"), [(sudoku, SUDOKU), (maze, MAZE)])
def test_variants_of_the_format_are_read(family: Any, text: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "puzzles.csv"
    question, answer = text
    written = question.replace(".", "0")
    row = f"2.5,7,{answer},{written},x\r\n"
    path.write_bytes(f"\ufeffrating,id,answer,question,source\r\n\r\n{row}\r\n{row}".encode())
    read = family.read_csv(path)
    assert family.to_text(read.inputs[1]) == question and family.to_text(read.labels[1]) == answer
    assert read.rating.tolist() == [2.5, 2.5] and read.source == ("x", "x")
    path.write_text(path.read_text().replace("\n", "\r"))  # lines as on old machines
    assert len(family.read_csv(path)) == 2
    path.write_text(HEADER + line(*text).strip("\n"))  # no end of line at the end
    assert len(family.read_csv(path)) == 1


WAYS = {
    "padded": lambda text: f" {text}  ",
    "spaced": " ".join,
    "rows": lambda text: f'"{text[:4]}\n{text[4:8]}\n{text[8:12]}\n{text[12:]}"',
    "slashes": lambda text: "/".join(text[k : k + 4] for k in range(0, 16, 4)),
    "list": lambda text: f'"{list(map(int, text.replace(".", "0")))}"',
}


@pytest.mark.parametrize("way", WAYS)
def test_boards_in_rows_and_lists_are_read_from_fields(way: str, tmp_path: Path) -> None:
    path = tmp_path / "puzzles.csv"
    path.write_text("puzzle,solution\n" + GOOD.split(",", 1)[1].rsplit(",", 1)[0] + "\n")
    wanted = sudoku.read_csv(path)
    path.write_text("puzzle,solution\n" + ",".join(map(WAYS[way], SUDOKU)) + "\n")
    for found in (sudoku.read_csv(path), read_csv_cached(path, cache_dir=tmp_path).take([0])):
        np.testing.assert_array_equal(found.inputs, wanted.inputs)
        np.testing.assert_array_equal(found.labels, wanted.labels)


def test_rating_may_be_padded_or_blank(tmp_path: Path) -> None:
    path = tmp_path / "puzzles.csv"
    path.write_text(HEADER + "".join(line(*SUDOKU, rating) for rating in ("", " ", " 4 ", "1e1")))
    np.testing.assert_array_equal(sudoku.read_csv(path).rating, [np.nan, np.nan, 4, 10])


FORM = [
    ("", "is empty; its first line should be source,question,answer,rating"),
    ("\n\n", "is empty"),
    (HEADER, "has a header and no puzzle"),
    ("source,question,rating\n", "line 1: the header lacks answer;"),
    (GOOD, r"line 1: the header lacks question, answer; it should be source,.* \(or quiz or puzzle"),
    ("PK\3\4\0\0, \0,a\n", "is not a text file .unpack a .gz or .zip.; its first line should be source,"),
    ('{"question":"1","answer":"2"}\n', "line 1: ',' expected after .*; the first line should be source,"),
    ("quiz,puzzle,answer\n", "line 1: quiz and puzzle may be the question; name one question"),
    ("question,answer,answer\n", "line 1: answer and answer may be the answer"),
    (HEADER + GOOD + "mine,..1.", r"line 3: 2 fields, the header has 4 \(a truncated file\?\)"),
    (HEADER + "mine,..1.\n" + GOOD, "line 2: 2 fields, the header has 4$"),
    (HEADER + GOOD + f"mine,{QUESTION},13422", "line 3: 3 fields"),
    (HEADER + GOOD + f"m,{QUESTION},{ANSWER},3,4\n", "line 3: 5 fields, the header has 4$"),
    (HEADER + GOOD + line(*SUDOKU, "hard"), "line 3, rating: 'hard' is not a number"),
    (HEADER + GOOD + line(*SUDOKU, "inf"), "line 3, rating: 'inf'"),
    (HEADER + GOOD + line(*SUDOKU, "1e39"), "line 3, rating: '1e39'"),
    (HEADER + GOOD + f'"m,{QUESTION},{ANSWER},3\n', "line 3: unexpected end of data"),
    (HEADER + line(QUESTION, ANSWER[:-1]), "line 2, answer: 15 characters; the question has 16"),
    (HEADER + GOOD + "\n" + line("." * 36, "1" * 36), "line 4, question: 36 characters; .* 16"),
    (HEADER + GOOD + line("x" + QUESTION[1:], ANSWER), r"line 3, question: .*column 1\) is 'x'"),
    (HEADER + GOOD + line(QUESTION[:-1] + "*", ANSWER), r"line 3, question: .*column 4\) is '[*]'"),
    (
        HEADER + GOOD + line(QUESTION, f"{ANSWER[:7]}€{ANSWER[8:]}"),
        r"line 3, answer: character 8 \(row 2, column 4\) is '€'",
    ),
    (HEADER + GOOD + "m,\udcff" + QUESTION[1:] + ",,\n", "line 3, question: character 1"),  # not UTF-8
]
SUDOKUS = [
    (QUESTION + ".", ANSWER, "question: 17 cells; a Sudoku has"),
    ("." * 15 + "S", "G" * 16, "question: character 16 .* is 'S'"),
    (QUESTION, ANSWER[:3] + "5" + ANSWER[4:], "answer: character 4 .* '5'; .* are '0_ .1234'"),
    (QUESTION, "." + ANSWER[1:], "answer: blank at row 1, column 1"),
    ("4" + QUESTION[1:], ANSWER, "answer: no answer can be right: .* two 4s in box 1"),
    ("2" + QUESTION[1:], ANSWER, "answer: breaks its question: 1 for the given 2 at row 1, col"),
    (QUESTION, "3" + ANSWER[1:], "answer: is not a valid grid: two 3s in row 1, at row 1, col"),
]
CROOKED, STRAIGHT = "S     G  ", "Soo  oGoo"
MAZES = [
    ("", "", "question: 0 cells"),
    (MAZE[0] + " ", MAZE[1] + " ", "question: 17 cells; a Maze has"),
    (MAZE[0][:4] + "o" + MAZE[0][5:], MAZE[1], "answer: no .*: row 2, column 1: the question has"),
    ("x" + MAZE[0][1:], MAZE[1], r"question: character 1 \(row 1, column 1\) is 'x'"),
    ("." * 15 + "G", "1" * 16, r"question: character 1 .* is '\.'; .* are '# SGo'"),
    (MAZE[0].replace("S", "G"), MAZE[1], "answer: no answer can be right: 0 cells are the start"),
    (MAZE[0], MAZE[1].replace("#", " ", 1), "answer: changes a wall at row 1, column 4"),
    (MAZE[0], MAZE[1].replace("o", " ", 1), "answer: draws no single path from the start"),
    ("S      G ", "Soo  o  G", "answer: changes the goal at row 3, column 2"),
    ("S  G     ", "SooGoo   ", "answer: draws no single path"),
    (CROOKED, STRAIGHT, "answer: draws a path of 6 moves; the shortest has 2"),
]


ANY = [
    ("a,01,0x,\n", "line 2, answer: cell 2 is 'x'; the characters of tokens are '_01"),
    ("a,01,01,\nb,011,01,\n", "line 3, question: 3 characters"),
    ("a,0?,01,\n", "line 2, question: '[?]' is for answers only"),
    ("a,,,\n", "line 2, question: no characters"),
]
QUOTED = [(content.replace("mine,", '"mine",'), message) for content, message in FORM]
REFUSED = [
    *((sudoku.read_csv, *case) for case in FORM + QUOTED),  # the csv module reads files with quotes
    *((sudoku.read_csv, HEADER + line(q, a), f"line 2, {message}") for q, a, message in SUDOKUS),
    *((maze.read_csv, HEADER + line(q, a), f"line 2, {message}") for q, a, message in MAZES),
    *((partial(read_csv, characters="_01"), HEADER + rows, message) for rows, message in ANY),
    (read_csv, HEADER + "a,1 10,2 x,\n", "line 2, answer: cell 2 is 'x'; .* numbers"),
]


@pytest.mark.parametrize(
    "header", ["quizzes,solutions", "Question, Answer", "puzzle;solution", "quiz\tsolution", "puzzle,answers"]
)
@pytest.mark.parametrize("quote", ["", '"'])
def test_headers_of_elsewhere(header: str, quote: str, tmp_path: Path) -> None:
    mark = next(sign for sign in ",;\t" if sign in header)
    for blank in "._0 ":
        row = f"{quote}{QUESTION.replace('.', blank)}{quote}{mark}{ANSWER}\n"
        (tmp_path / "p.csv").write_text(f"{header}\n{row}{row}", encoding="utf-8")
        read = sudoku.read_csv(tmp_path / "p.csv")
        assert sudoku.to_text(read.inputs[1]) == QUESTION and read.source is None
        assert np.isnan(read.rating).all() and len(read) == 2
    text = f"id{mark}{header}{mark}level\n7{mark}{row[:-1]}{mark}hard\n"
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    assert len(sudoku.read_csv(tmp_path / "p.csv")) == 1


@pytest.mark.parametrize(("read", "content", "message"), REFUSED)
def test_refused_by_file_line_and_field(read: Any, content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}.*{message}"):
        read(path)


@pytest.mark.parametrize(
    ("family", "good", "size", "message"),
    [
        (sudoku, GOOD, 9, "line 2, question: 16 cells; a 9x9 Sudoku has 81"),
        (sudoku, GOOD, 5, "^size must be 4, 6, 9"),
        (maze, GOOD_MAZE, 30, "line 2, question: 16 cells; a 30x30 Maze has 900"),
        (maze, GOOD_MAZE, 2, "^size must be 3 to 100"),
    ],
)
def test_another_size_is_refused(family: Any, good: str, size: int, message: str, tmp_path: Path) -> None:
    path = tmp_path / "puzzles.csv"
    path.write_text(HEADER + good)
    with pytest.raises(ValueError, match=message):
        family.read_csv(path, size)
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        family.read_csv(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("family", "make", "reason", "width"),
    [
        (sudoku, some_sudokus, "puzzle 1, answer: blank at row", 81),
        (maze, some_mazes, "puzzle 1, answer: draws no single path", 900),
    ],
)
def test_a_failed_write_leaves_the_old_file(
    family: Any, make: Any, reason: str, width: int, tmp_path: Path
) -> None:
    path = tmp_path / "puzzles.csv"
    family.write_csv(path, make(4, 2), 4)
    before = path.read_text()
    bad = make(4, 3)
    bad.labels[1] = bad.inputs[1]
    with pytest.raises(ValueError, match=reason):
        family.write_csv(path, bad, 4)
    unwritable = make(4, 3)
    object.__setattr__(unwritable, "source", ("fine", "\ud800", "never reached"))
    with pytest.raises(UnicodeEncodeError):
        family.write_csv(path, unwritable, 4)
    with pytest.raises(ValueError, match=rf"\[..., {width}\]"):
        family.write_csv(path, make(4, 3))
    assert path.read_text() == before and os.listdir(tmp_path) == ["puzzles.csv"]
