"""Sources: keys to puzzles, purely; symmetric images of the pool, evenly; Sudoku's validator."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.envs import PoolSource, SequentialSource
from hrm_rl.envs.families.make import family_source
from hrm_rl.envs.families.validators import validator_of
from hrm_rl.hashing import mix
from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays, Symmetry
from hrm_rl.puzzles.sudoku import Sudoku


def keys(count: int) -> torch.Tensor:
    return mix(torch.arange(count))


def markers(cells: int, count: int = 1) -> PuzzleArrays:
    """Puzzles whose inputs name their cells, so that a drawn one tells its group element."""
    tokens = np.tile(np.arange(cells), (count, 1))
    return PuzzleArrays(tokens, tokens, np.arange(count), np.zeros(count))


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum())


def generous(cells: int) -> float:
    """Six standard deviations above the mean of chi-square: one in a million or rarer."""
    return cells - 1 + 6 * np.sqrt(2 * (cells - 1)) + 6


@pytest.mark.parametrize("size", [4, 6, 9])
def test_every_drawn_puzzle_is_an_image_of_a_pool_puzzle(size: int) -> None:
    pool = sudoku.generate(20, size, seed=3)
    source = PoolSource(pool, sudoku.vocab_size(size), symmetry=sudoku.symmetry(size))
    drawn = source.draw(keys(300))
    inputs, labels = drawn.inputs.numpy(), drawn.labels.numpy()
    classes = sudoku.class_key(pool.inputs, size)
    assert set(sudoku.class_key(inputs, size)) == set(classes)
    assert sudoku.is_valid(inputs, labels, size).all()
    assert len(np.unique(inputs, axis=0)) > 250  # and it does transform


def test_without_a_symmetry_the_pool_itself_is_drawn(pool: Any) -> None:
    drawn = PoolSource(pool, 6).draw(keys(1000))
    rows = {row.tobytes() for row in np.hstack([pool.inputs, pool.labels])}
    got = torch.cat([drawn.inputs, drawn.labels], dim=1).numpy()
    assert {row.tobytes() for row in got} == rows


def test_a_draw_is_pure_and_independent_of_its_batch(source: Any) -> None:
    many = keys(64)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    whole, again = source.draw(many), source.draw(many[order])
    for one, two in zip(whole, again, strict=True):
        assert torch.equal(one[order], two)
    for i in (0, 5, 63):
        alone = source.draw(many[i : i + 1])
        assert all(torch.equal(a, w[i : i + 1]) for a, w in zip(alone, whole, strict=True))


def test_unjudged_cells_stay_unjudged_and_move_along(pool: Any) -> None:
    """Judge the blanks only: wherever they go, the givens' labels stay ignored."""
    labels = np.where(pool.inputs == sudoku.BLANK, pool.labels, IGNORE_LABEL)
    asked = PuzzleArrays(pool.inputs, labels, pool.puzzle_identifiers, pool.rating)
    drawn = PoolSource(asked, 6, symmetry=sudoku.symmetry(4)).draw(keys(300))
    assert torch.equal(drawn.labels == IGNORE_LABEL, drawn.inputs != sudoku.BLANK)
    filled = torch.where(drawn.labels == IGNORE_LABEL, drawn.inputs, drawn.labels)
    assert sudoku.is_valid(drawn.inputs.numpy(), filled.numpy(), 4).all()


@pytest.mark.parametrize("sequential", [False, True], ids=["hashed keys", "keys 0, 1, 2, ..."])
def test_group_elements_are_drawn_evenly(sequential: bool) -> None:
    """All 8 x 8 x 2 cell symmetries of a 4x4 board, equally often, in the convention of apply."""
    full = sudoku.symmetry(4)
    source = PoolSource(markers(16), 16, symmetry=Symmetry(full.cell_tables))
    drawn = source.draw(torch.arange(25_600) if sequential else keys(25_600)).inputs.numpy()
    rows, columns, transpose = full.cell_tables
    images = {r[c][t].tobytes() for r in rows for c in columns for t in transpose}
    images = {np.frombuffer(image, np.int64).astype(np.int32).tobytes() for image in images}
    seen, counts = np.unique(drawn, axis=0, return_counts=True)
    assert {row.tobytes() for row in seen} == images and len(images) == 128
    assert chi_square(counts) < generous(128)


@pytest.mark.parametrize("sequential", [False, True], ids=["hashed keys", "keys 0, 1, 2, ..."])
def test_token_maps_are_drawn_evenly(sequential: bool) -> None:
    source = PoolSource(markers(6), 6, symmetry=Symmetry((), permuted_tokens=(2, 6)))
    drawn = source.draw(torch.arange(24_000) if sequential else keys(24_000))
    assert torch.equal(drawn.inputs, drawn.labels)
    seen, counts = np.unique(drawn.inputs.numpy(), axis=0, return_counts=True)
    wanted = {(0, 1, *order) for order in permutations(range(2, 6))}
    assert {tuple(row.tolist()) for row in seen} == wanted
    assert chi_square(counts) < generous(24)


def test_puzzles_elements_and_tokens_are_drawn_independently() -> None:
    """The table of (puzzle, shift of its cells, swap of two tokens) fills evenly."""
    shifts = np.stack([np.roll(np.arange(5), s) for s in range(5)])
    turn_and_swap = Symmetry((shifts,), permuted_tokens=(3, 5))
    drawn = PoolSource(markers(5, count=5), 5, symmetry=turn_and_swap).draw(keys(20_000))
    tokens = drawn.inputs.numpy()
    swapped = np.where(tokens >= 3, 7 - tokens, tokens)
    flip = (np.diff(swapped[:, np.arange(6) % 5], axis=1) % 5 == 1).all(axis=1)  # 3 and 4 swapped
    shift = np.where(flip, swapped[:, 0], tokens[:, 0])
    table = np.zeros((5, 5, 2))
    np.add.at(table, (drawn.puzzle_identifiers.numpy(), shift, flip.astype(int)), 1)
    assert chi_square(table) < generous(table.size)


def test_a_sequential_source_pads_behind_its_end(pool: Any, in_order: Any) -> None:
    drawn = in_order.draw(torch.arange(len(pool) + 5))
    np.testing.assert_array_equal(drawn.inputs[:-5].numpy(), pool.inputs)
    np.testing.assert_array_equal(drawn.labels[:-5].numpy(), pool.labels)
    assert (drawn.labels[-5:] == IGNORE_LABEL).all()
    assert ((drawn.inputs[-5:] >= 0) & (drawn.inputs[-5:] < 6)).all()


def test_a_source_needs_puzzles_and_enough_identifiers(pool: Any) -> None:
    with pytest.raises(ValueError, match="at least one puzzle"):
        PoolSource(pool.take(slice(0)), 6)
    with pytest.raises(ValueError, match="num_ids=2, but the puzzles name identifier 3"):
        SequentialSource(markers(3, count=4), 3, num_ids=2)


def test_train_and_test_sources_share_no_class() -> None:
    keyed = []
    for split in ("train", "validation", "test"):
        drawn = family_source(Sudoku(4), split=split, pool_size=60).draw(keys(200))
        keyed.append(set(sudoku.class_key(drawn.inputs, 4)))
    assert all(keyed) and len(set.union(*keyed)) == sum(map(len, keyed))


@pytest.mark.parametrize("size", [4, 6, 9])
def test_the_torch_validator_agrees_with_the_numpy_one(size: int) -> None:
    """On right and wrong answers, overwritten givens, foreign tokens, and noise."""
    count, rng = 60, np.random.default_rng(size)
    puzzles = sudoku.generate(count, size, seed=1, extra_givens=(0, 3))
    inputs, right = puzzles.inputs, puzzles.labels
    one_wrong = right.copy()
    cell = rng.integers(0, size * size, count)
    one_wrong[np.arange(count), cell] = rng.integers(-3, size + 5, count)
    relabelled = right.copy()  # a whole grid, but of other givens
    relabelled[right == 2], relabelled[right == 3] = 3, 2
    swapped = right.copy()  # every row and column holds its digits, the boxes do not
    swapped = swapped.reshape(-1, size, size)[:, np.roll(np.arange(size), 1)].reshape(count, -1)
    noise = rng.integers(-2, size + 4, right.shape).astype(np.int32)
    foreign = np.where(rng.random(right.shape) < 0.03, 64, right).astype(np.int32)
    blank = np.ones_like(inputs)
    boards = [right, one_wrong, relabelled, swapped, noise, foreign, blank, inputs]
    validator, seen = validator_of(Sudoku(size)), []
    for question in (inputs, blank, 0 * blank):
        for board in boards:
            got = validator(torch.from_numpy(question), torch.from_numpy(board)).numpy()
            np.testing.assert_array_equal(got, sudoku.is_valid(question, board, size))
            seen.append(got)
    assert seen[0].all() and not seen[2].any() and not seen[3].any() and not seen[4].any()
    assert seen[len(boards) + 2].all()  # without givens, any whole grid is right
