"""Votes over augmented ARC tasks: what counts, how ties fall, and what credit is given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_rl.puzzles import arc


@pytest.fixture(scope="module")
def table(tasks: arc.Collection) -> arc.ArcTable:
    """Test pairs of three tasks ("transpose" has two), each as it is and augmented four times."""
    return arc.ArcTable(arc.augment(tasks, 4), "evaluation")


def right(table: arc.ArcTable) -> np.ndarray:
    labels = table.arrays().labels
    return np.where(labels < 0, 7, labels)  # some token in cells without a label


def test_right_answers_of_all_augmentations_are_one_candidate(table: arc.ArcTable) -> None:
    voting = arc.Voting(table)
    for rows in np.array_split(np.arange(len(table)), 3):
        voting.add(rows, right(table)[rows], np.linspace(-1, 1, len(rows)))
    for pair, (task, number) in enumerate(zip(table.pairs.task, table.pairs.number, strict=True)):
        (candidate,) = voting.ranking(pair)
        assert candidate.count == 5
        wanted = table.augmented.collection.tasks[task].pairs[number].output
        np.testing.assert_array_equal(candidate.grid, wanted)
    assert voting.votes == len(table)
    assert voting.score((1, 2)) == {k: {"all_tests": 1.0, "fractional": 1.0} for k in ("pass@1", "pass@2")}


def board(table: arc.ArcTable, row: int, grid: np.ndarray) -> np.ndarray:
    """The answer to a row that counts as a vote for the grid."""
    identifier = int(table.where([row])[0][0])
    by = int(table.augmented.symmetries[identifier]), table.augmented.colors[identifier]
    return arc.encode(arc.transform(grid, *by))


def vote(table: arc.ArcTable, pair: int, boards: dict[int, tuple[np.ndarray, float]]) -> arc.Voting:
    """Votes of the first identifiers of a pair: augmentation -> (grid before turning, q_halt)."""
    voting = arc.Voting(table)
    rows = np.flatnonzero(table.where(np.arange(len(table)))[1] == pair)
    for augmentation, (grid, q_halt) in boards.items():
        row = int(rows[augmentation])
        voting.add([row], board(table, row, grid)[None], [q_halt])
    return voting


ONE, TWO, THREE = (np.full((1, 2), color, np.uint8) for color in (1, 2, 3))


def test_ranked_by_frequency_then_by_q_halt(table: arc.ArcTable) -> None:
    votes = {0: (TWO, 9.0), 1: (ONE, -5.0), 2: (ONE, 1.0), 3: (THREE, 2.0)}
    ranking = vote(table, 0, votes).ranking(0)
    assert [(int(c.grid[0, 0]), c.count) for c in ranking] == [(1, 2), (2, 1), (3, 1)]
    sigmoid = [1 / (1 + np.exp(-q)) for q in (-5.0, 1.0)]
    assert ranking[0].q == pytest.approx(np.mean(sigmoid))
    assert vote(table, 0, votes).ranking(1) == []


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(5)), st.lists(st.floats(-3, 3), min_size=5, max_size=5))
def test_the_order_of_votes_never_matters(table: arc.ArcTable, order: list[int], q_halt: list[float]) -> None:
    grids = [ONE, ONE, ONE, ONE, TWO]
    votes = {k: (grids[k], q_halt[k]) for k in range(5)}
    rankings = (vote(table, 0, v).ranking(0) for v in (votes, {k: votes[k] for k in order}))
    one, other = ([(c.grid.tobytes(), c.count, c.q) for c in ranking] for ranking in rankings)
    assert one == other


def test_a_full_tie_is_ranked_by_the_grid(table: arc.ArcTable) -> None:
    ranking = vote(table, 0, {0: (THREE, 0.0), 1: (ONE, 0.0), 2: (TWO, 0.0)}).ranking(0)
    assert [int(c.grid[0, 0]) for c in ranking] == [1, 2, 3]


def test_credit_by_hand(table: arc.ArcTable) -> None:
    """Three tasks; of "transpose" the first test is right at once, the second at the third attempt."""
    voting = arc.Voting(table)
    pairs = table.where(np.arange(len(table)))[1]
    answers = right(table)
    tasks = [table.augmented.collection.tasks[t].name for t in table.pairs.task]
    hard = [p for p, name in enumerate(tasks) if name == "transpose"][1]
    junk = np.zeros(900, int)
    for pair, name in enumerate(tasks):
        rows = np.flatnonzero(pairs == pair)
        if name == "negative":
            continue  # no votes
        if pair == hard:
            # Twice an empty grid, twice a wrong one, then the right one; the wrong one turned along.
            assert len(rows) == 5
            voting.add(rows[:2], np.stack([junk, junk + 1]), [3.0, 3.0])
            for row in rows[2:4].tolist():
                voting.add([row], board(table, row, ONE)[None], [0.0])
            voting.add(rows[4:], answers[rows[4:]])
        else:
            voting.add(rows, answers[rows])
    assert [c.grid.shape for c in voting.ranking(hard)] == [(0, 0), (1, 2), (3, 2)]
    score = voting.score((1, 2, 3, 1000))
    for k, wanted in ((1, (1 / 3, 0.5)), (2, (1 / 3, 0.5)), (3, (2 / 3, 2 / 3)), (1000, (2 / 3, 2 / 3))):
        assert tuple(score[f"pass@{k}"].values()) == pytest.approx(wanted)


def test_any_board_is_a_vote(table: arc.ArcTable) -> None:
    rng = np.random.default_rng(0)
    voting = arc.Voting(table)
    voting.add(np.arange(len(table)), rng.integers(-200, 200, (len(table), 900)))
    assert 0.0 <= voting.score()["pass@1000"]["fractional"] <= 1.0 and voting.votes == len(table)


def test_refused_votes(table: arc.ArcTable) -> None:
    voting, boards = arc.Voting(table), np.zeros((2, 900), int)
    voting.add([0], boards[:1])
    for rows, answers, q_halt, message in [
        ([0], boards[:1], None, "voted already"),
        ([1, 1], boards, None, "voted already"),
        ([1], boards, None, r"answers must be \[1, 900\]"),
        ([1], boards[:1], [float("nan")], "q_halt must be"),
        ([1], boards[:1], [0.0, 1.0], "q_halt must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            voting.add(rows, answers, q_halt)
    with pytest.raises(IndexError):
        voting.add([len(table)], boards[:1])
    with pytest.raises(ValueError, match="1 or more"):
        voting.score((0,))
    with pytest.raises(ValueError, match="translate=False"):
        arc.Voting(arc.ArcTable(table.augmented, "evaluation", translate=True))


def test_valid_is_the_right_grid_whatever_stands_beside_it() -> None:
    labels = arc.as_labels(arc.encode(np.array([[1, 2], [3, 4]], np.uint8)))
    answers = np.stack([np.where(labels < 0, 5, labels)] * 4)
    answers[1, 2] = arc.PAD  # another end of row 0
    answers[2, [2, 3]] = 7, arc.EOS  # row 1 ends the rectangle all the same
    answers[3, 31] = 9  # a wrong color
    labelled = np.stack([labels] * 4)
    assert arc.is_valid(labelled, answers).tolist() == [True, True, True, False]
    assert arc.is_exact(labelled, answers).tolist() == [True, False, False, False]
    wide = answers[0].copy()
    wide[[2, 32]] = 7  # both rows go on
    assert not arc.is_valid(labels[None], wide[None])[0]
