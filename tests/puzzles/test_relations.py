"""Relations of cells: by hand on small boards, and refused."""

import numpy as np
import pytest

from hrm_rl.puzzles.base.relations import as_relations, neighbours
from hrm_rl.puzzles.sudoku import Sudoku
from hrm_rl.puzzles.unique_sat import UniqueSAT


def test_neighbours_of_a_square_and_of_a_torus() -> None:
    middle = [0, 2, 0, 4, 1, 5, 0, 3, 0]
    np.testing.assert_array_equal(neighbours(3)[4], middle)
    np.testing.assert_array_equal(neighbours(3)[0], [1, 5, 0, 3, 0, 0, 0, 0, 0])
    torus = neighbours(3, corners=True, torus=True)
    np.testing.assert_array_equal(torus[4], [6, 2, 7, 4, 1, 5, 8, 3, 9])
    np.testing.assert_array_equal(torus[0], [1, 5, 4, 3, 9, 8, 2, 7, 6])


@pytest.mark.parametrize(("size", "peers"), [(4, 7), (6, 12), (9, 20)])
def test_sudoku_relates_a_cell_to_its_peers(size: int, peers: int) -> None:
    relations = Sudoku(size).relations
    assert (np.diag(relations) == 7).all() and (relations == relations.T).all()
    assert ((relations > 0).sum(axis=1) == peers + 1).all()
    for bit in (1, 2, 4):
        assert ((relations & bit > 0).sum(axis=1) == size).all()
        favoured = Sudoku.favoured[bit // 2]
        assert set(np.unique(relations[relations & bit > 0])) <= set(favoured)


def test_sat_relates_the_literals_of_a_clause() -> None:
    relations = UniqueSAT(4).relations
    assert relations[:4, :4].tolist() == [[1 if i == j else 3 for j in range(4)] for i in range(4)]
    assert relations[4, 3:11].tolist() == [5, 1, 2, 2, 0, 0, 0, 0] and relations[3, 4] == 4


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((3, 4), int), r"must be \[4, 4\].*got shape \[3, 4\]"),
        (np.zeros(4, int), r"got shape \[4\]"),
        ([[0], [0, 1]], "rows of different lengths"),
        (np.zeros((4, 4)), "integer classes, got dtype float64"),
        (np.diag([0, 0, -1, 0]), "classes 0 to 255, got -1 for cells 2 and 2"),
        (np.diag([0, 256, 0, 0]), "got 256 for cells 1 and 1"),
    ],
)
def test_wrong_relations_are_refused(values: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        as_relations(values, 4)
