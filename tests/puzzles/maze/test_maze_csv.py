import os
import re

import numpy as np
import pytest

from hrm_rl.puzzles import PuzzleArrays, maze

HEADER = "source,question,answer,rating\n"
QUESTION, ANSWER = "S  # # # # G    ", "Soo# #o# #oG    "
GOOD = f"mine,{QUESTION},{ANSWER},5\n"


@pytest.mark.parametrize("size", [3, 30])
def test_round_trip(size, tmp_path):
    puzzles = maze.generate(10, size, perfect=True, rate=True)
    rating = puzzles.rating.copy()
    rating[2:5] = np.nan, 1 / 3, 1e-7
    names = ("", "ä", "x", *(puzzles.source or ())[3:])
    path = tmp_path / "mazes.csv"
    for sources in (names, ('a "quoted", name', "two\nlines", *names[2:]), None):
        given = PuzzleArrays(puzzles.inputs, puzzles.labels, np.zeros(10, int), rating, sources)
        maze.write_csv(path, given, size)
        for read in (maze.read_csv(path), maze.read_csv(str(path), size)):
            np.testing.assert_array_equal(read.inputs, puzzles.inputs)
            np.testing.assert_array_equal(read.labels, puzzles.labels)
            np.testing.assert_array_equal(read.rating, rating)
            assert read.source == sources
    assert os.listdir(tmp_path) == ["mazes.csv"]
    assert len(maze.read_csv(path, limit=4)) == 4


def test_a_line_is_as_in_the_reference(tmp_path):
    path = tmp_path / "mazes.csv"
    arrays = PuzzleArrays(maze.parse(QUESTION)[None], maze.parse(ANSWER)[None], [0], [5.0])
    maze.write_csv(path, arrays, 4)
    assert path.read_text() == f"{HEADER},{QUESTION},{ANSWER},5\n"


def test_reads_other_habits(tmp_path):
    path = tmp_path / "mazes.csv"
    line = f"2.5,7,{ANSWER},{QUESTION},x\r\n"
    path.write_bytes(f"\ufeffrating,id,answer,question,source\r\n\r\n{line}\r\n{line}".encode())
    read = maze.read_csv(path)
    assert maze.to_text(read.inputs[1]) == QUESTION and maze.to_text(read.labels[1]) == ANSWER
    assert read.rating.tolist() == [2.5, 2.5] and read.source == ("x", "x")
    path.write_text(path.read_text().replace("\n", "\r"))  # lines as on old machines
    assert len(maze.read_csv(path)) == 2
    path.write_text(HEADER + GOOD.strip("\n"))  # no end of line at the end
    assert len(maze.read_csv(path)) == 1


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; its first line should be source,question,answer,rating"),
        (HEADER, "has a header and no puzzle"),
        ("source,question,rating\n", "line 1: the header lacks answer;"),
        (HEADER + GOOD + "mine,S  ", r"line 3: 2 fields, the header has 4 \(a truncated file\?\)"),
        (HEADER + "mine,S  \n" + GOOD, "line 2: 2 fields, the header has 4$"),
        (HEADER + GOOD + f"m,{QUESTION},{ANSWER},3,4\n", "line 3: 5 fields, the header has 4$"),
        (HEADER + f"m,{QUESTION} ,{ANSWER} ,3\n", "line 2, question: 17 characters; a maze has"),
        (HEADER + GOOD + f"m,{QUESTION[1:]},{ANSWER},3\n", "line 3, question: 15 characters"),
        (HEADER + f"m,{QUESTION},{ANSWER[1:]},3\n", "line 2, answer: 15 char.*the question has 16"),
        (HEADER + "m,,,3\n", "line 2, question: no characters"),
        (
            HEADER + GOOD + "\n" + f"m,{QUESTION[:4]}o{QUESTION[5:]},{ANSWER},3\n",
            "line 4, answer: no answer can be right: row 2, column 1: the question has a path",
        ),
        (
            HEADER + GOOD + f"m,{QUESTION[:-1]}€,{ANSWER},3\n",
            r"line 3, question: character 16 \(row 4, column 4\) is",
        ),
        (
            HEADER + f"m,x{QUESTION[1:]},{ANSWER},3\n",
            r"line 2, question: character 1 \(row 1, column 1\) is 'x'",
        ),
        (
            HEADER + f"m,{QUESTION.replace('S', 'G')},{ANSWER},3\n",
            "line 2, answer: no answer can be right: 0 cells are the start",
        ),
        (
            HEADER + f"m,{QUESTION},{ANSWER.replace('#', ' ', 1)},3\n",
            "line 2, answer: changes a wall at row 1, column 4",
        ),
        (
            HEADER + f"m,{QUESTION},{ANSWER.replace('o', ' ', 1)},3\n",
            "line 2, answer: draws no single path from the start to the goal",
        ),
        (
            HEADER + "m,S       G,S  o  ooG,3\nm,S      G ,Soo  o  G,3\n",
            "line 3, answer: changes the goal at row 3, column 2",
        ),
        (HEADER + "m,S  G     ,SooGoo   ,3\n", "line 2, answer: draws no single path"),
        (
            HEADER + "m,S  G     ,Soo Goooo,3\n",
            "line 2, answer: changes the goal at row 2, column 1",
        ),
        (
            HEADER + "m,S     G  ,Soo  oGoo,3\n",
            "line 2, answer: draws a path of 6 moves; the shortest has 2",
        ),
        (HEADER + GOOD + f"m,{QUESTION},{ANSWER},long\n", "line 3, rating: 'long' is no number"),
        (HEADER + GOOD + f"m,{QUESTION},{ANSWER},1e39\n", "line 3, rating: '1e39' is no number"),
    ],
)
def test_bad_files_are_refused_by_name_and_line(content, message, quoted, tmp_path):
    """By both readers: quotes are read by the csv module, files without by array operations."""
    path = tmp_path / "bad.csv"
    if quoted:
        content = content.replace("m,", '"m",').replace("mine,", '"mine",')
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}.*{message}"):
        maze.read_csv(path)


def test_an_open_quote_is_refused(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(HEADER + GOOD + f'"m,{QUESTION},{ANSWER},3\n')
    with pytest.raises(ValueError, match="line 3: unexpected end of data"):
        maze.read_csv(path)
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        maze.read_csv(tmp_path / "none.csv")
    path.write_text(HEADER + GOOD)
    with pytest.raises(ValueError, match="line 2, question: 16 characters; a 30x30 maze has 900"):
        maze.read_csv(path, 30)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "mazes.csv"
    maze.write_csv(path, maze.generate(2, 5, perfect=True), 5)
    before = path.read_text()
    bad = maze.generate(3, 5, perfect=True)
    bad.labels[1] = bad.inputs[1]
    with pytest.raises(ValueError, match="label of puzzle 1 draws no single path"):
        maze.write_csv(path, bad, 5)
    with pytest.raises(ValueError, match=r"\[..., 900\]"):
        maze.write_csv(path, maze.generate(3, 5, perfect=True))
    assert path.read_text() == before and os.listdir(tmp_path) == ["mazes.csv"]
