"""Every family behind one surface, and what a bare model's shape tells."""

import numpy as np
import pytest
import torch

from hrm_rl.puzzles import FAMILIES
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.training.kind import kind_of_shape, own_kind, puzzle_kind

SMALL = {
    "sudoku": {"size": 4},
    "maze": {"size": 6, "min_path": 4},
    "prefix-parity": {"length": 12, "min_length": 5},
    "pointer-chase": {"nodes": 6, "hops": 3},
    "life": {"size": 6, "steps": 2},
    "lights-out": {"size": 3},
    "unique-sat": {"variables": 5},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_asked_the_same(family) -> None:
    kind = puzzle_kind(family, SMALL[family])
    puzzles = kind.generate(6, seed=3, split="validation", rate=True)
    assert puzzles.inputs.shape == (6, kind.seq_len) and puzzles.labels.max() < kind.vocab_size
    assert kind.rows_of(puzzles.inputs, "validation").tolist() == list(range(6))
    assert len(kind.rows_of(puzzles.inputs, "test")) == 0
    assert family.replace("-", "_") in kind.source_name(puzzles)
    assert "seed" not in kind.source_name(puzzles) and "=None" not in kind.words

    answers = np.where(puzzles.labels == IGNORE_LABEL, puzzles.inputs, puzzles.labels)
    tensors = [torch.as_tensor(array) for array in (puzzles.inputs, answers, puzzles.labels)]
    validator = kind.validator()
    assert validator is not None and kind.picture is not None
    needs = getattr(validator, "needs_labels", False)
    assert validator(*tensors[: 3 if needs else 2]).all()
    tile = kind.picture(puzzles.inputs[0], draft=answers[0], caption="x", q=(0.0, 1.0), cell=16)
    assert tile.dtype == np.uint8 and tile.shape[2] == 3


def test_only_mazes_of_one_path_are_turned() -> None:
    assert puzzle_kind("maze", {"size": 6, "perfect": True}).symmetry is not None
    assert puzzle_kind("maze", {"size": 6, "perfect": True, "braid": 0.5}).symmetry is None
    assert puzzle_kind("maze", {"size": 6}).symmetry is None


def test_puzzles_of_no_family_have_a_shape_alone() -> None:
    kind = own_kind(12, 30)
    assert kind.symmetry is None and kind.picture is None and kind.validator() is None
    with pytest.raises(ValueError, match="30 cells and 12 tokens can only come from a dataset"):
        kind.generate(1, seed=0, split="test")


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((11, 81), "9x9 Sudoku"),
        ((6, 16), "4x4 Sudoku"),
        ((6, 900), "maze (size=30 perfect=False braid=0.0)"),
        ((12, 900), "puzzles of 900 cells and 12 tokens"),
        ((6, 10), "puzzles of 10 cells and 6 tokens"),
    ],
)
def test_what_a_shape_tells(shape, words) -> None:
    assert kind_of_shape(*shape).words == words


@pytest.mark.parametrize(
    ("family", "dials", "message"),
    [
        ("chess", {}, "unknown family 'chess'; known: sudoku, maze"),
        ("life", {"speed": 1}, r"speed is no dial of life; it has size \(4 to 32\), steps"),
        ("life", {"size": 3}, "size must be 4 to 32, got 3"),
        ("sudoku", {"size": 5}, "unknown Sudoku size 5"),
    ],
)
def test_what_there_is_not_is_named(family, dials, message) -> None:
    with pytest.raises(ValueError, match=message):
        puzzle_kind(family, dials)
