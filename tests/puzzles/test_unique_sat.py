import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_rl.puzzles import unique_sat
from hrm_rl.puzzles.unique_sat import FALSE, FIRST_LITERAL, PAD, TRUE


def clauses_of(row: np.ndarray, n: int) -> np.ndarray:
    """The literals of a puzzle's clauses, [M, 3], without the empty rows."""
    clauses = row[n:].reshape(-1, 3)
    return clauses[clauses[:, 0] != PAD] - FIRST_LITERAL


def satisfying(clauses: np.ndarray, n: int) -> np.ndarray:
    """All satisfying assignments as numbers, bit v the value of variable v, by trying all."""
    numbers = np.arange(1 << n)
    values = numbers[:, None] >> np.arange(n) & 1 == 1
    literals = np.concatenate([values, ~values], axis=1)
    return numbers[literals[:, clauses].any(axis=2).all(axis=1)]


@pytest.mark.parametrize(("n", "extra"), [(4, 0), (4, 16), (6, 3), (9, 20), (12, 0), (15, 1)])
def test_one_solution_and_every_clause_but_the_extra_is_needed(n, extra):
    puzzles = unique_sat.generate(12, seed=1, variables=n, extra_clauses=extra)
    solution, count = unique_sat.solve(puzzles.inputs, variables=n, extra_clauses=extra)
    assert (count == 1).all()
    np.testing.assert_array_equal(solution, puzzles.labels[:, :n])
    for row, labels in zip(puzzles.inputs, puzzles.labels, strict=True):
        clauses = clauses_of(row, n)
        found = satisfying(clauses, n)
        assert len(found) == 1
        np.testing.assert_array_equal(labels[:n], FALSE + (found[0] >> np.arange(n) & 1))
        assert all(len({literal % n for literal in clause}) == 3 for clause in clauses.tolist())
        assert len({frozenset(clause) for clause in clauses.tolist()}) == len(clauses)
        if extra == 0:
            for i in range(len(clauses)):
                assert len(satisfying(np.delete(clauses, i, axis=0), n)) > 1


def test_the_search_counts_as_trying_all_does():
    rng = np.random.default_rng(0)
    n, extra, rows, counted = 5, 30, 45, set()
    for _ in range(60):
        chosen = np.argsort(rng.random((rows, n)), axis=1)[:, :3]
        clauses = chosen + n * rng.integers(0, 2, (rows, 3))
        used = int(rng.integers(1, rows + 1))
        cells = np.zeros((rows, 3), int)
        cells[rows - used :] = clauses[:used] + FIRST_LITERAL  # empty rows may stand anywhere
        row = np.concatenate([np.ones(n, int), cells.ravel()])
        want = satisfying(clauses[:used], n)
        solution, count = unique_sat.solve(row, variables=n, extra_clauses=extra, limit=1000)
        assert count == len(want)
        counted.add(min(int(count), 2))
        if count:
            assert ((solution - FALSE) << np.arange(n)).sum() in want
        else:
            assert (solution == PAD).all()
        found = unique_sat.solve(row, variables=n, extra_clauses=extra).solutions_found
        assert found == min(len(want), 2)
    assert counted == {0, 1, 2}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(4, 12))
def test_key_is_the_same_under_names_signs_and_orders(seed, n):
    row = unique_sat.generate(1, seed=seed, variables=n).inputs[0]
    rng = np.random.default_rng(seed)
    clauses = row[n:].reshape(-1, 3)
    # In other orders: the class and the rating stay.
    shuffled = rng.permuted(rng.permutation(clauses), axis=1)
    orders = np.concatenate([row[:n], shuffled.ravel()])
    assert unique_sat.class_key(orders, variables=n) == unique_sat.class_key(row, variables=n)
    assert unique_sat.rate(orders, variables=n) == unique_sat.rate(row, variables=n)
    # With other names and signs too: the class stays.
    names, signs = rng.permutation(n), rng.integers(0, 2, n)
    variables, negated = (shuffled - FIRST_LITERAL) % n, (shuffled - FIRST_LITERAL) // n
    other = names[variables] + n * (negated ^ signs[variables]) + FIRST_LITERAL
    other = np.where(shuffled == PAD, PAD, other)
    renamed = np.concatenate([row[:n], other.ravel()])
    assert unique_sat.class_key(renamed, variables=n) == unique_sat.class_key(row, variables=n)


def test_key_tells_formulas_apart():
    rows = unique_sat.generate(400, variables=10).inputs
    assert len(np.unique(unique_sat.class_key(rows, variables=10))) == 400
    n = 10
    flipped = rows[:1].copy()  # one sign of one clause: another formula
    first = flipped[0, n] - FIRST_LITERAL
    flipped[0, n] = (first + n) % (2 * n) + FIRST_LITERAL
    assert unique_sat.class_key(flipped, variables=n) != unique_sat.class_key(rows[:1], variables=n)


def test_redundant_clauses_are_added_and_make_it_easier():
    ratings, counts = [], []
    for extra in (0, 40):
        puzzles = unique_sat.generate(60, variables=12, extra_clauses=extra, rate=True)
        ratings.append(puzzles.rating.mean())
        counts.append(np.mean([len(clauses_of(row, 12)) for row in puzzles.inputs]))
    assert ratings[1] < 0.6 * ratings[0]
    assert counts[1] == pytest.approx(counts[0] + 40, abs=2)


def test_decisions_by_hand():
    # No clause: every variable is tried both ways everywhere, whatever the order: 1 + 2 + 4 + 8.
    nothing = np.concatenate([np.ones(4, int), np.zeros(36, int)])
    assert unique_sat.solve(nothing, variables=4, limit=99).solutions_found == 16
    assert unique_sat.rate(nothing, variables=4) == 15
    # All clauses over three variables but the one of negations: they must all be true. Of these three the
    # first and, on both sides, the second are tried; the third follows. The fourth variable is free: it
    # adds one decision where two of the three come before it (4 in all), and else doubles 3 (7 in all).
    signs = [s for s in range(8) if s != 7]
    clauses = np.zeros((12, 3), int)
    clauses[:7] = np.array([[v + 4 * (s >> v & 1) for v in range(3)] for s in signs]) + FIRST_LITERAL
    row = np.concatenate([np.ones(4, int), clauses.ravel()])
    assert unique_sat.solve(row, variables=4, limit=9).solutions_found == 2
    decisions = round(16 * float(unique_sat.rate(row, variables=4)))
    assert 16 * 4 < decisions < 16 * 7 and (decisions - 16 * 4) % 3 == 0


def test_only_values_of_all_variables_are_valid():
    puzzle = unique_sat.generate(1, variables=5)
    answer = np.where(puzzle.labels > 0, puzzle.labels, 0)
    assert unique_sat.is_valid(puzzle.inputs, answer, variables=5)
    for token in (PAD, 1, FALSE + TRUE):
        unset = answer.copy()
        unset[0, 2] = token
        assert not unique_sat.is_valid(puzzle.inputs, unset, variables=5)


def test_formulas_of_another_form_are_refused():
    row = unique_sat.generate(1, variables=5).inputs[0]
    row[5] = PAD
    with pytest.raises(ValueError, match="three literals, or three times PAD"):
        unique_sat.class_key(row, variables=5)
    with pytest.raises(ValueError, match="limit must be at least 1"):
        unique_sat.solve(np.ones((1, 50), int), variables=5, limit=0)
    with pytest.raises(ValueError, match="copies must be at least 1"):
        unique_sat.difficulty(np.ones((1, 50), int), variables=5, copies=0)
