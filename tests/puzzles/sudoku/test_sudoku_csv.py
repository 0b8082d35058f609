import os
import re

import numpy as np
import pytest

from hrm_rl.puzzles import PuzzleArrays, sudoku

HEADER = "source,question,answer,rating\n"
QUESTION = ".....4.1..2....4"
ANSWER = "1342243141233214"
GOOD = f"mine,{QUESTION},{ANSWER},3\n"


@pytest.mark.parametrize("size", sudoku.SIZES)
def test_round_trip(size, tmp_path):
    puzzles = sudoku.generate(10, size, rate=True)
    rating = puzzles.rating.copy()
    rating[2:5] = np.nan, 1 / 3, 1e-7
    puzzles = PuzzleArrays(
        puzzles.inputs,
        puzzles.labels,
        puzzles.puzzle_identifiers,
        rating,
        source=('a "quoted", name', "", "ä", *"defghij"),
    )
    path = tmp_path / "puzzles.csv"
    sudoku.write_csv(path, puzzles, size)
    for read in (sudoku.read_csv(path), sudoku.read_csv(str(path), size)):
        np.testing.assert_array_equal(read.inputs, puzzles.inputs)
        np.testing.assert_array_equal(read.labels, puzzles.labels)
        np.testing.assert_array_equal(read.puzzle_identifiers, np.zeros(10))
        np.testing.assert_array_equal(read.rating, rating)
        assert read.source == puzzles.source
    assert os.listdir(tmp_path) == ["puzzles.csv"]


def test_round_trip_without_sources_and_ratings(tmp_path):
    path = tmp_path / "puzzles.csv"
    sudoku.write_csv(path, sudoku.generate(3, 4), 4)
    assert path.read_text().startswith(f"{HEADER},")
    read = sudoku.read_csv(path)
    assert read.source is None
    assert np.isnan(read.rating).all()


def test_reads_other_habits(tmp_path):
    path = tmp_path / "puzzles.csv"
    zeros = QUESTION.replace(".", "0")
    path.write_bytes(
        f"\ufeffrating,id,answer,question,source\r\n\r\n2.5,7,{ANSWER},{zeros},x\r\n".encode()
    )
    read = sudoku.read_csv(path)
    assert sudoku.to_text(read.inputs[0]) == QUESTION
    assert sudoku.to_text(read.labels[0]) == ANSWER
    assert read.rating.tolist() == [2.5]
    assert read.source == ("x",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; its first line should be source,question,answer,rating"),
        ("\n\n", "is empty"),
        (HEADER, "has a header and no puzzle"),
        ("source,question,rating\n", "line 1: the header lacks answer;"),
        (GOOD, "line 1: the header lacks source, question, answer, rating"),
        (HEADER + GOOD + "mine,..1.", r"line 3: 2 fields, the header has 4 \(a truncated file\?\)"),
        (HEADER + "mine,..1.\n" + GOOD, "line 2: 2 fields, the header has 4$"),
        (HEADER + GOOD + f"mine,{QUESTION},13422", r"line 3: 3 fields"),
        (HEADER + GOOD + f"m,{QUESTION},{ANSWER},3,4\n", "line 3: 5 fields, the header has 4$"),
        (HEADER + f"mine,{QUESTION}.,{ANSWER},3\n", "line 2, question: 17 characters; a 9x9"),
        (
            HEADER + f"mine,{QUESTION},{ANSWER[:-1]},3\n",
            "line 2, answer: 15 characters, 4x4 has 16",
        ),
        (
            HEADER + GOOD + "\n" + f"m,{'.' * 36},{'1' * 36},3\n",
            "line 4, question: 36 characters, 4x4 like line 2's puzzle has 16",
        ),
        (
            HEADER + GOOD + f"m,x{QUESTION[1:]},{ANSWER},3\n",
            r"line 3, question: character 1 \(row 1, column 1\) is 'x'",
        ),
        (
            HEADER + GOOD + f"m,{QUESTION[:-1]} ,{ANSWER},3\n",
            r"line 3, question: character 16 \(row 4, column 4\) is ' '",
        ),
        (
            HEADER + GOOD + f"m,{QUESTION},{ANSWER[:7]}€{ANSWER[8:]},3\n",
            r"line 3, answer: character 8 \(row 2, column 4\) is '€'",
        ),
        (
            HEADER + f"m,{QUESTION},{ANSWER[:3]}5{ANSWER[4:]},3\n",
            "line 2, answer: character 4 .* is '5'; a 4x4 Sudoku has digits 1 to 4",
        ),
        (
            HEADER + f"m,{QUESTION},.{ANSWER[1:]},3\n",
            "line 2, answer: blank at row 1, column 1",
        ),
        (
            HEADER + f"m,4{QUESTION[1:]},{ANSWER},3\n",
            "line 2, answer: no answer can be right: the question has two 4s in box 1",
        ),
        (
            HEADER + f"m,2{QUESTION[1:]},{ANSWER},3\n",
            "line 2, answer: breaks its question: 1 for the given 2 at row 1, column 1",
        ),
        (
            HEADER + GOOD + f"m,{QUESTION},3{ANSWER[1:]},3\n",
            "line 3, answer: is no valid grid: two 3s in row 1, at row 1, column 1 and row 1, column 2",
        ),
        (HEADER + GOOD + f"m,{QUESTION},{ANSWER},hard\n", "line 3, rating: 'hard' is no number"),
        (HEADER + GOOD + f"m,{QUESTION},{ANSWER},inf\n", "line 3, rating: 'inf' is no number"),
        (HEADER + GOOD + f'"m,{QUESTION},{ANSWER},3\n', "line 3: unexpected end of data"),
    ],
)
def test_bad_files_are_refused_by_name_and_line(content, message, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}.*{message}"):
        sudoku.read_csv(path)


def test_bytes_that_are_no_text_are_pointed_at(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes((HEADER + GOOD).encode() + b"m,\xff" + QUESTION[1:].encode() + b",,\n")
    with pytest.raises(ValueError, match="line 3, question: character 1"):
        sudoku.read_csv(path)


def test_the_size_asked_for_is_kept_to(tmp_path):
    path = tmp_path / "puzzles.csv"
    path.write_text(HEADER + GOOD)
    with pytest.raises(ValueError, match="line 2, question: 16 characters, 9x9 has 81"):
        sudoku.read_csv(path, 9)
    with pytest.raises(ValueError, match="known sizes are 4, 6, 9"):
        sudoku.read_csv(path, 5)
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        sudoku.read_csv(tmp_path / "none.csv")


def test_rating_may_be_padded_or_blank(tmp_path):
    path = tmp_path / "puzzles.csv"
    lines = [f"m,{QUESTION},{ANSWER},{rating}\n" for rating in ("", " ", " 4 ", "1e1")]
    path.write_text(HEADER + "".join(lines))
    np.testing.assert_array_equal(sudoku.read_csv(path).rating, [np.nan, np.nan, 4, 10])


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "puzzles.csv"
    sudoku.write_csv(path, sudoku.generate(2, 4), 4)
    before = path.read_text()
    bad = sudoku.generate(3, 4)
    bad.labels[1, 0] = sudoku.BLANK
    with pytest.raises(ValueError, match="labels of puzzle 1 are no right grid"):
        sudoku.write_csv(path, bad, 4)
    unwritable = sudoku.generate(3, 4)
    object.__setattr__(unwritable, "source", ("fine", "\ud800", "never reached"))
    with pytest.raises(UnicodeEncodeError):
        sudoku.write_csv(path, unwritable, 4)
    with pytest.raises(ValueError, match=r"\[..., 81\]"):
        sudoku.write_csv(path, sudoku.generate(3, 4), 9)
    assert path.read_text() == before
    assert os.listdir(tmp_path) == ["puzzles.csv"]
