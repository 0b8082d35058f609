"""Reasoning-gym's text to tokens and back; entries written by hand, and those of the package where it is."""

import pickle
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hrm_rl.puzzles.base.tokens import hash_rows
from hrm_rl.puzzles.family import in_split
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.puzzles.reasoning_gym import ReasoningGymPool, load, tokenise
from hrm_rl.puzzles.reasoning_gym.formats import FORMATS, MISFITS

MINI = {"puzzle": [[0, 2, 0, 4], [3, 4, 0, 0], [0, 1, 4, 0], [4, 0, 0, 1]]}
MINI_ANSWER = "1 2 3 4\n3 4 1 2\n2 1 4 3\n4 3 2 1"
SUDOKU = [[(3 * r + r // 3 + c) % 9 + 1 for c in range(9)] for r in range(9)]
WALK = [["X", "*", "O"], ["#", "X", "O"], ["O", "O", "O"]]

# name: (settings, entry, the question's cells, the answer's cells); "·" is PAD, or nothing asked.
ENTRIES: dict[str, tuple[dict, dict, str, str]] = {
    "arc_1d": (
        {"max_size": 4, "num_train": 1},
        {
            "answer": "0 2 2",
            "metadata": {
                "train_examples": [{"input": [1, 1, 0], "output": [0, 1, 1]}],
                "test_example": {"input": [2, 2, 0]},
            },
        },
        "110· 011· 220·",
        "···· ···· 022·",
    ),
    "binary_matrix": (
        {"max_n": 3},
        {"answer": "1 2\n0 1", "metadata": {"matrix": [[1, 1], [0, 1]]}},
        "11· 01· ···",
        "12· 01· ···",
    ),
    "futoshiki": (
        {"max_board_size": 3},
        {
            "question": "Solve:\n\n_   _ > _\n∧        \n2   _   _\n        ∨\n_   1   _\n\nEnsure that",
            "answer": "1   3 > 2\n∧        \n2   1   3\n        ∨\n3   1   2",
            "metadata": {"board_size": 3},
        },
        "_ _>_|∧    |2 _ _|    ∨|_ 1 _",
        "1 3>2|∧    |2 1 3|    ∨|3 1 2",
    ),
    "game_of_life": (
        {"grid_size_x": 2, "grid_size_y": 3},
        {"question": "After 1 step?\n\n[[0,1,0],\n [1,1,0]].", "answer": "[[1,1,1],[0,0,1]]"},
        "010 110",
        "111 001",
    ),
    "kakurasu": (
        {"max_rows": 3, "max_cols": 3},
        {
            "answer": "1 0\n1 1",
            "metadata": {"puzzle": [[0, 0], [0, 0]], "row_sums": [1, 3], "col_sums": [3, 2]},
        },
        "001· 003· 32·· ····",
        "10·· 11·· ···· ····",
    ),
    "mini_sudoku": (
        {},
        {"answer": MINI_ANSWER, "metadata": MINI},
        "0204 3400 0140 4001",
        MINI_ANSWER.replace(" ", "").replace("\n", " "),
    ),
    "modulo_grid": (
        {"size_x": 3, "size_y": 2},
        {"question": "Find the pattern.\n\n❌✅❔\n❔❌✅", "answer": "❌✅❌\n✅❌✅"},
        "❌✅❔ ❔❌✅",
        "❌✅❌ ✅❌✅",
    ),
    "n_queens": (
        {"n": 4},
        {
            "answer": "_ Q _ _\n_ _ _ Q\nQ _ _ _\n_ _ Q _",
            "metadata": {"puzzle": [[*"_Q__"], [*"____"], [*"Q___"], [*"____"]]},
        },
        "_Q__ ____ Q___ ____",
        "_Q__ ___Q Q___ __Q_",
    ),
    "rotate_matrix": (
        {"max_n": 3},
        {"answer": "3 1\n4 2", "metadata": {"matrix": [[1, 2], [3, 4]], "num_rotations": 5}},
        "1·· 12· 34· ···",
        "··· 31· 42· ···",
    ),
    "shortest_path": (
        {"max_rows": 3, "max_cols": 4},
        {"answer": "right down down left left up", "metadata": {"matrix": WALK}},
        "X*O· #XO· OOO·",
        "X>v· #Xv· ^<<·",
    ),
    "spiral_matrix": (
        {"max_n": 3},
        {"answer": "1 2 4 3", "metadata": {"matrix": [[1, 2], [3, 4]]}},
        "12· 34· ···",
        "12· 43· ···",
    ),
    "sudoku": (
        {},
        {
            "answer": "\n".join(" ".join(map(str, row)) for row in SUDOKU),
            "metadata": {"puzzle": [[0, *row[1:]] for row in SUDOKU]},
        },
        " ".join("0" + "".join(map(str, row[1:])) for row in SUDOKU),
        " ".join("".join(map(str, row)) for row in SUDOKU),
    ),
    "survo": (
        {"max_num": 4, "max_board_size": 3, "max_empty": 2},
        {
            "answer": "1 2 3\n2 2 4\n3 4 7",
            "metadata": {"puzzle": [[1, 0, 3], [0, 2, 4], [3, 4, 7]], "candidate_numbers": [2, 2]},
        },
        "22· 103 024 347",
        "··· 123 224 347",
    ),
}


def by_hand(name: str) -> ReasoningGymPool:
    """A pool of the one entry, without reasoning-gym."""
    settings, entry, _, _ = ENTRIES[name]
    form = FORMATS[name](SimpleNamespace(**settings))
    inputs, labels = tokenise(form, entry)
    arrays = SimpleNamespace(inputs=inputs[None], labels=labels[None])
    return ReasoningGymPool(name, {}, form, arrays, (entry,))  # type: ignore[arg-type]


def cells(pool: ReasoningGymPool, text: str) -> np.ndarray:
    """The rows of ENTRIES as tokens; -1 for "·"."""
    rows = text.split("|") if "|" in text else text.split(" ")
    assert len(rows) == pool.format.height and len(rows[0]) == pool.format.width
    return np.array([-1 if c == "·" else pool.format.symbols.index(c) + 1 for c in "".join(rows)])


def test_every_format_has_an_entry() -> None:
    assert set(ENTRIES) == set(FORMATS) and not set(FORMATS) & set(MISFITS)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_cells_stand_where_they_should(name: str) -> None:
    pool = by_hand(name)
    inputs, labels = pool.arrays.inputs[0], pool.arrays.labels[0]
    np.testing.assert_array_equal(np.where(inputs == 0, -1, inputs), cells(pool, ENTRIES[name][2]))
    np.testing.assert_array_equal(np.where(labels == IGNORE_LABEL, -1, labels), cells(pool, ENTRIES[name][3]))
    assert inputs.max() < pool.format.vocab_size and len(inputs) == pool.format.seq_len


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_labels_give_the_answers_text(name: str) -> None:
    """But for spaces at the ends of lines, with any tokens in cells that are not judged."""
    pool = by_hand(name)
    inputs, labels = pool.arrays.inputs[0], pool.arrays.labels[0]
    text = "\n".join(line.rstrip() for line in pool.entries[0]["answer"].split("\n"))
    for elsewhere in range(pool.format.vocab_size):
        answer = np.where(labels == IGNORE_LABEL, elsewhere, labels)
        assert pool.answer_text(inputs, answer, labels) == text


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_symbol_that_no_answer_has_is_no_text(name: str) -> None:
    """So that 10 in one cell of Kakurasu is not read as a 1 and a 0."""
    pool = by_hand(name)
    inputs, labels = pool.arrays.inputs[0], pool.arrays.labels[0]
    place = int(np.argmax(labels != IGNORE_LABEL))
    for token in range(-1, pool.format.vocab_size + 2):
        answer = labels.copy()
        answer[place] = token
        known = 1 <= token < pool.format.vocab_size
        allowed = known and pool.format.symbols[token - 1] in pool.format.answers
        if name != "shortest_path" or not allowed:
            assert (pool.answer_text(inputs, answer, labels) is not None) == allowed


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("X*O· #XO· OOO·", "infeasible"),
        ("X>O· #XO· OOO·", "right"),  # ends too early: reasoning-gym says so
        ("X>v· #Xv· ^<<·", "right down down left left up"),
        ("X>v· #Xv· v<<·", "right down down left left down"),  # off the grid
        ("X>v· #X^· OOO·", "right down up"),  # to and fro
        ("X>v· #Xv· ^O<·", None),  # an arrow off the path
        ("O*O· #XO· OOO·", None),  # a wall is gone
        ("X<O· #XO· OOO·", "left"),
    ],
)
def test_a_path_is_read_off_its_arrows(answer: str, text: str | None) -> None:
    pool = by_hand("shortest_path")
    given = np.maximum(cells(pool, answer), 0)
    assert pool.answer_text(pool.arrays.inputs[0], given, pool.arrays.labels[0]) == text


def test_an_entry_of_another_form_is_refused() -> None:
    form = FORMATS["mini_sudoku"](None)
    with pytest.raises(ValueError, match=r"puzzle 7 has '5' in row 1, column 2"):
        tokenise(form, {"answer": "1 5", "metadata": MINI}, "puzzle 7")
    with pytest.raises(ValueError, match="5 rows of up to 4 cells, more than 4 x 4"):
        tokenise(form, {"answer": MINI_ANSWER + "\n1", "metadata": MINI})


def test_pictures_and_text_mark_mistakes() -> None:
    pool = by_hand("survo")
    inputs, labels = pool.arrays.inputs[0], pool.arrays.labels[0]
    right = np.maximum(labels, 0)
    wrong = right.copy()
    wrong[4] = 17
    drawn = [pool.draw(inputs, draft=draft, labels=labels) for draft in (right, wrong)]
    assert "!" not in drawn[0] and drawn[1].count("!16!") == 1
    shown = [pool.picture(inputs, draft=draft, labels=labels) for draft in (right, wrong)]
    assert shown[0].shape == shown[1].shape and (shown[0] != shown[1]).any()
    assert pool.draw(inputs).split("\n")[1].split() == ["1", "0", "3"]


# --- pools ----------------------------------------------------------------------------------------


def test_a_pool_is_the_start_of_a_longer_one(fake_reasoning_gym: Any) -> None:
    short, long = (load("n_queens", size=size, seed=3, split="train") for size in (5, 12))
    np.testing.assert_array_equal(short.arrays.inputs, long.arrays.inputs[:5])
    assert short.arrays.source == long.arrays.source[:5]  # type: ignore[index]
    assert np.isnan(short.arrays.rating).all() and not short.arrays.puzzle_identifiers.any()


def test_splits_share_no_question_though_seeds_share_puzzles(fake_reasoning_gym: Any) -> None:
    """Reasoning-gym's puzzle k of seed s is puzzle k - 1 of seed s + 1."""
    one, other = (load("n_queens", size=20, seed=seed).arrays.inputs for seed in (0, 1))
    np.testing.assert_array_equal(one[1:], other[:-1])
    pools = [
        load("n_queens", size=20, seed=seed, split=split)
        for seed, split in ((0, "train"), (1, "validation"), (2, "test"))
    ]
    questions = [{row.tobytes() for row in pool.arrays.inputs} for pool in pools]
    assert all(questions) and len(set.union(*questions)) == sum(map(len, questions))


def test_scores_are_the_datasets_own(fake_reasoning_gym: Any) -> None:
    pool = load("n_queens", size=30, config={"min_remove": 5})
    inputs, labels = pool.arrays.inputs, pool.arrays.labels
    np.testing.assert_array_equal(pool.scores(inputs, labels, labels), 1)
    turned = labels[:, ::-1]  # half a turn: queens on an empty board still attack none
    np.testing.assert_array_equal(pool.scores(inputs, turned, labels), 1)
    np.testing.assert_array_equal(pool.scores(inputs, inputs, labels), 0)
    padded = np.full_like(labels, IGNORE_LABEL)
    np.testing.assert_array_equal(pool.scores(inputs, labels, padded), 0)


def test_a_pickled_pool_scores_and_draws_alike(fake_reasoning_gym: Any) -> None:
    pool = load("n_queens", size=4, config={"n": 6})
    twin = pickle.loads(pickle.dumps(pool))
    inputs, labels = pool.arrays.inputs, pool.arrays.labels
    np.testing.assert_array_equal(twin.scores(inputs, labels, labels), 1)
    assert twin.draw(inputs[0]) == pool.draw(inputs[0]) and twin.config == {"n": 6}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"dataset": "maze"}, "asks for a number.*do: arc_1d, binary_matrix"),
        ({"dataset": "caesar_cipher"}, "'caesar_cipher' does not fit as a grid.*n_queens"),
        ({"size": 0}, "size must be 1 or more, got 0"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"split": "dev"}, "train, validation, test or None; got 'dev'"),
        ({"config": {"seed": 1}}, "must not have 'seed'"),
        ({"config": {"queens": 1}}, "n_queens with config .*queens"),
        ({"config": {"max_remove": 9}}, "max_remove must be at most n"),
    ],
)
def test_what_is_refused(fake_reasoning_gym: Any, words: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(**({"dataset": "n_queens", "size": 2} | words))


def test_a_split_without_puzzles_is_refused(fake_reasoning_gym: Any) -> None:
    """The empty board is the only question, so two of the splits have none."""
    config = {"n": 4, "min_remove": 4, "max_remove": 4}
    refused = 0
    for split in ("train", "validation", "test"):
        try:
            load("n_queens", size=2, split=split, config=config)
        except ValueError as error:
            assert "had 0 in the" in str(error)
            refused += 1
    assert refused == 2


def test_puzzles_of_other_pools_are_not_scored(fake_reasoning_gym: Any) -> None:
    pool = load("n_queens", size=3)
    inputs, labels = pool.arrays.inputs, pool.arrays.labels
    with pytest.raises(ValueError, match="not in this pool of 'n_queens'"):
        pool.scores(np.ones_like(inputs), labels, labels)
    with pytest.raises(ValueError, match=r"must all be \[N, 25\]"):
        pool.scores(inputs, labels[:2], labels)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(ValueError, match=r'pip install .*\[reasoning-gym\]"'):
        load("n_queens", size=1)


# --- the package itself, where it is installed --------------------------------------------------------

SETTINGS: dict[str, list[dict]] = {
    "arc_1d": [{}, {"num_train": 2, "max_size": 12}],
    "futoshiki": [{"max_board_size": 5}, {"max_board_size": 4, "max_difficulty": 1}],
    "game_of_life": [{"grid_size_x": 4, "grid_size_y": 6, "filled_cells": 9}],
    "kakurasu": [{}, {"min_rows": 3, "max_cols": 6}],
    "modulo_grid": [{"size_x": 7, "size_y": 9, "max_holes": 4}],
    "n_queens": [{"n": 6, "max_remove": 6}],
    "shortest_path": [{}, {"p_blocked": 0.7, "max_cols": 11}],
    "survo": [{}, {"max_board_size": 6, "max_num": 20, "max_empty": 9}],
}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_packages_own_puzzles(name: str) -> None:
    pytest.importorskip("reasoning_gym")
    for config in SETTINGS.get(name, [{}]):
        pool = load(name, size=6, seed=5, split="train", config=config)
        inputs, labels = pool.arrays.inputs, pool.arrays.labels
        assert in_split(hash_rows(inputs), "train").all()
        assert inputs.max() < pool.format.vocab_size and (labels >= 0).any(1).all()
        np.testing.assert_array_equal(pool.scores(inputs, labels, labels), 1)
        texts = [
            (pool.answer_text(*rows), entry["answer"])
            for *rows, entry in zip(inputs, labels, labels, pool.entries, strict=True)
        ]
        assert all(text.split() == answer.split() for text, answer in texts)  # type: ignore[union-attr]
        spoilt = np.where(labels == pool.format.vocab_size - 1, 1, labels + 1)
        assert (pool.scores(inputs, spoilt, labels) < 1).all()
        twin = pickle.loads(pickle.dumps(pool))
        np.testing.assert_array_equal(twin.scores(inputs, labels, labels), 1)


def test_the_package_has_the_datasets_named_here() -> None:
    factory = pytest.importorskip("reasoning_gym.factory")
    assert set(FORMATS) | set(MISFITS) <= set(factory.DATASETS)
