"""Formats of reasoning-gym's grid datasets: text to tokens and back.

Reasoning-gym gives text. A `GridFormat` lays the question out as a grid of cells, marks the cells that the
answer fills, and turns cells back into the text that the dataset's `score_answer` reads. Vocabulary and shape
depend on the dataset's configuration alone, so two pools of one configuration share both.

Clues beside the grid (the turns to make, the numbers to place, the sums to reach) have further cells, which
are not judged. This module depends on the form of entries alone, not on the package.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PAD = 0

Rows = Sequence[Sequence[str]]
Entry = Mapping[str, Any]
"""A puzzle of a dataset of reasoning-gym: question, answer, metadata."""
Grid = tuple[Rows, Sequence[Sequence[str | None]]]
"""Cells of a question and of its answer, rows of equal lengths; None in cells that are not judged."""


def _joined(question: Rows, answer: Rows) -> str | None:
    return "\n".join(" ".join(row).rstrip() for row in answer)


@dataclass(frozen=True)
class GridFormat:
    """A dataset of one configuration as grids."""

    height: int
    """Rows of the largest puzzle."""
    width: int
    """Columns of the largest puzzle; smaller ones stand in the upper left corner."""
    symbols: tuple[str, ...]
    """Symbols of cells; token PAD = 0 is none, token k is ``symbols[k - 1]``."""
    answers: Collection[str]
    """Symbols that an answer may hold; any other makes it wrong."""
    read: Callable[[Entry], Grid]
    write: Callable[[Rows, Rows], str | None] = _joined
    """`write(question, answer)`, of the rows of judged cells: the text to score, None if they have none."""
    shown: Mapping[str, str] = field(default_factory=dict)
    """Other characters for symbols that not every font and terminal has."""

    @property
    def vocab_size(self) -> int:
        """Tokens, PAD among them."""
        return len(self.symbols) + 1

    @property
    def seq_len(self) -> int:
        """Cells, in reading order."""
        return self.height * self.width


def _texts(rows: Iterable[Iterable[Any]]) -> list[list[str]]:
    return [[str(value) for value in row] for row in rows]


def _nothing(rows: Rows) -> list[list[None]]:
    return [[None] * len(row) for row in rows]


def _numbers(last: int) -> tuple[str, ...]:
    return tuple(map(str, range(last + 1)))


_DIGITS = _numbers(9)


def _answer(entry: Entry) -> list[list[str]]:
    return [line.split() for line in entry["answer"].strip().split("\n")]


def _board(field: str) -> Callable[[Entry], Grid]:
    """Reads a question from the metadata, and an answer of its shape."""
    return lambda entry: (_texts(entry["metadata"][field]), _answer(entry))


def _board_below(clue: Callable[[Any], list[Any]], field: str) -> Callable[[Entry], Grid]:
    """The same, below a row of clues from the metadata."""

    def read(entry: Entry) -> Grid:
        question, answer = _board(field)(entry)
        clues = _texts([clue(entry["metadata"])])
        return [*clues, *question], [*_nothing(clues), *answer]

    return read


def _sudoku(size: int) -> Callable[[Any], GridFormat]:
    symbols = _numbers(size)
    shown = {"0": "_"}
    return lambda config: GridFormat(size, size, symbols, symbols[1:], _board("puzzle"), shown=shown)


def _n_queens(config: Any) -> GridFormat:
    return GridFormat(config.n, config.n, ("_", "Q"), ("_", "Q"), _board("puzzle"))


def _futoshiki(config: Any) -> GridFormat:
    """2n - 1 rows and columns: the signs between two cells have a cell too, empty without a sign."""

    def read(entry: Entry) -> Grid:
        side = 2 * entry["metadata"]["board_size"] - 1
        board = entry["question"].split("\n\n", 1)[1].split("\n\nEnsure", 1)[0]
        return _spaced(board, side), _spaced(entry["answer"], side)

    side = 2 * config.max_board_size - 1
    digits = _numbers(config.max_board_size)[1:]
    symbols = ("_", *digits, " ", "<", ">", "∧", "∨")
    return GridFormat(side, side, symbols, symbols[1:], read, shown={"∧": "^", "∨": "v"})


def _spaced(text: str, side: int) -> list[list[str]]:
    """Every other character of every line."""
    return [list(line.ljust(2 * side)[: 2 * side : 2]) for line in text.split("\n")]


def _kakurasu(config: Any) -> GridFormat:
    """The sums stand to the right of the rows and below the columns."""

    def read(entry: Entry) -> Grid:
        clues = entry["metadata"]
        rows = [[*row, end] for row, end in zip(clues["puzzle"], clues["row_sums"], strict=True)]
        answers = [[*row, None] for row in _answer(entry)]
        return _texts([*rows, clues["col_sums"]]), [*answers, *_nothing([clues["col_sums"]])]

    longest = max(config.max_rows, config.max_cols)
    sums = _numbers(longest * (longest + 1) // 2)
    return GridFormat(config.max_rows + 1, config.max_cols + 1, sums, ("0", "1"), read)


def _survo(config: Any) -> GridFormat:
    """The numbers to place stand in the first row, the board below it."""
    read = _board_below(lambda clues: clues["candidate_numbers"], "puzzle")
    numbers = _numbers(config.max_num * (config.max_board_size - 1) ** 2)
    width = max(config.max_board_size, config.max_empty)
    return GridFormat(config.max_board_size + 1, width, numbers, numbers, read)


def _game_of_life(config: Any) -> GridFormat:
    def read(entry: Entry) -> Grid:
        board = entry["question"].rsplit("\n\n", 1)[1].rstrip(".")
        return _texts(json.loads(board)), _texts(json.loads(entry["answer"]))

    def write(question: Rows, answer: Rows) -> str:
        return "[" + ",".join("[" + ",".join(row) + "]" for row in answer) + "]"

    states = ("0", "1")
    return GridFormat(config.grid_size_x, config.grid_size_y, states, states, read, write)


def _binary_matrix(config: Any) -> GridFormat:
    # Nothing is farther from a 0 than one corner from the other.
    distances = _numbers(max(1, 2 * (config.max_n - 1)))
    return GridFormat(config.max_n, config.max_n, distances, distances, _board("matrix"))


def _rotate_matrix(config: Any) -> GridFormat:
    """The quarter turns, 0 to 3, stand in the first row, the matrix below it."""
    read = _board_below(lambda clues: [clues["num_rotations"] % 4], "matrix")
    return GridFormat(config.max_n + 1, config.max_n, _DIGITS, _DIGITS, read)


def _spiral_matrix(config: Any) -> GridFormat:
    """The answer is a list; it fills the matrix's cells row by row."""

    def read(entry: Entry) -> Grid:
        matrix, numbers = _texts(entry["metadata"]["matrix"]), entry["answer"].split()
        size = len(matrix)
        return matrix, [numbers[start : start + size] for start in range(0, size**2, size)]

    def write(question: Rows, answer: Rows) -> str:
        return " ".join(" ".join(row) for row in answer)

    return GridFormat(config.max_n, config.max_n, _DIGITS, _DIGITS, read, write)


def _modulo_grid(config: Any) -> GridFormat:
    def read(entry: Entry) -> Grid:
        board = entry["question"].rsplit("\n\n", 1)[1]
        return _texts(board.split("\n")), _texts(entry["answer"].split("\n"))

    def write(question: Rows, answer: Rows) -> str:
        return "\n".join("".join(row) for row in answer)

    return GridFormat(
        config.size_y,
        config.size_x,
        ("❔", "❌", "✅"),
        ("❌", "✅"),
        read,
        write,
        {"❔": "?", "❌": ".", "✅": "#"},
    )


def _arc_1d(config: Any) -> GridFormat:
    """Two rows an example, input and output; the last row has the test's input, and its output is judged."""

    def read(entry: Entry) -> Grid:
        clues = entry["metadata"]
        pairs = clues["train_examples"]
        rows = [row for pair in pairs for row in (pair["input"], pair["output"])]
        question = _texts([*rows, clues["test_example"]["input"]])
        return question, [*_nothing(rows), *_answer(entry)]

    return GridFormat(2 * config.num_train + 1, config.max_size, _DIGITS, _DIGITS, read)


_MOVES = {"up": ("^", -1, 0), "left": ("<", 0, -1), "right": (">", 0, 1), "down": ("v", 1, 0)}


def _shortest_path(config: Any) -> GridFormat:
    """The answer is the grid with, on the start and every cell of the path, the move made from it.

    Without a way (*infeasible*) it is the grid as it was.
    """

    def read(entry: Entry) -> Grid:
        question = _texts(entry["metadata"]["matrix"])
        answer: list[list[str | None]] = [list(row) for row in question]
        moves = entry["answer"].split()
        row, column = _start(question)
        for move in moves if moves != ["infeasible"] else []:
            answer[row][column], down, across = _MOVES[move]
            row, column = row + down, column + across
        return question, answer

    symbols = ("*", "#", "O", "X", "^", "<", ">", "v")
    return GridFormat(config.max_rows, config.max_cols, symbols, symbols, read, _path_text)


def _start(question: Rows) -> tuple[int, int]:
    return next((r, c) for r, row in enumerate(question) for c, cell in enumerate(row) if cell == "*")


def _path_text(question: Rows, answer: Rows) -> str | None:
    """The moves along the arrows; None if an arrow is off the path or another cell has changed."""
    names = {arrow: (name, down, across) for name, (arrow, down, across) in _MOVES.items()}
    left = [list(row) for row in answer]
    row, column = _start(question)
    moves = []
    while 0 <= row < len(left) and 0 <= column < len(left[row]) and left[row][column] in names:
        name, down, across = names[left[row][column]]
        left[row][column] = question[row][column]  # walked once: a loop ends here
        moves.append(name)
        row, column = row + down, column + across
    if left != [list(cells) for cells in question]:
        return None
    return " ".join(moves) or "infeasible"


FORMATS: dict[str, Callable[[Any], GridFormat]] = {
    "arc_1d": _arc_1d,
    "binary_matrix": _binary_matrix,
    "futoshiki": _futoshiki,
    "game_of_life": _game_of_life,
    "kakurasu": _kakurasu,
    "mini_sudoku": _sudoku(4),
    "modulo_grid": _modulo_grid,
    "n_queens": _n_queens,
    "rotate_matrix": _rotate_matrix,
    "shortest_path": _shortest_path,
    "spiral_matrix": _spiral_matrix,
    "sudoku": _sudoku(9),
    "survo": _survo,
}
"""A dataset's name to `format(config) -> GridFormat`, for the datasets that are grids."""

_A_NUMBER = "it asks for a number, not a grid"
_MOVES_ASKED = "it asks for moves, as many as it takes"
MISFITS: dict[str, str] = {
    "arc_agi": "its examples have no fixed size; HRM/Arc-v0 poses the same tasks",
    "boxnet": _MOVES_ASKED,
    "game_of_life_halting": "it asks for yes or no",
    "knight_swap": _MOVES_ASKED,
    "largest_island": _A_NUMBER,
    "manipulate_matrix": "its operations are given in words",
    "maze": _A_NUMBER + " (shortest_path and HRM/Maze-v0 ask for the path)",
    "pool_matrix": "its answers are decimal fractions",
    "rearc": "its examples have no fixed size; HRM/Arc-v0 poses such tasks",
    "rectangle_count": _A_NUMBER,
    "rotten_oranges": _A_NUMBER,
    "rubiks_cube": _MOVES_ASKED,
    "rush_hour": _MOVES_ASKED,
    "sokoban": _MOVES_ASKED,
    "tsumego": "it asks for one move",
}
"""Datasets that show a grid and still do not fit, and why."""
