"""`HRM/Sudoku-v0`: Sudoku of 4x4, 6x6 and 9x9, single and vector.

A fixed pool of puzzles (`pool_size` of them, generated from `pool_seed`) times Sudoku's symmetries.
Training and test pools never share a puzzle up to symmetry; see `hrm_rl.puzzles.sudoku`.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal

import torch
from torch import Tensor

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.source import PoolSource
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.sudoku.layout import BOXES, check_size

Split = Literal["train", "validation", "test"]


def make_env(
    size: int = 9,
    *,
    split: Split = "train",
    extra_givens: int | tuple[int, int] = 0,
    pool_size: int = 1000,
    pool_seed: int = 0,
    augment: bool = True,
    **options: Any,
) -> PuzzleEnv:
    """One Sudoku.

    Args:
        size: 4, 6 or 9.
        split: classes of puzzles (up to symmetry) for training, or those held out.
        extra_givens: givens beyond a minimal puzzle, a number or an inclusive range.
        pool_size: distinct puzzles in the pool.
        pool_seed: which pool.
        augment: apply a random symmetry to every puzzle drawn.
        options: those of PuzzleEnv: halt_max_steps, segment_cost, checker, flat_action, render_mode.
    """
    source = sudoku_source(size, split, extra_givens, pool_size, pool_seed, augment)
    return PuzzleEnv(
        source,
        drawer=partial(sudoku.draw, size=size),
        picture=partial(sudoku.picture, size=size),
        **options,
    )


def make_vector_env(
    num_envs: int = 1,
    size: int = 9,
    *,
    split: Split = "train",
    extra_givens: int | tuple[int, int] = 0,
    pool_size: int = 1000,
    pool_seed: int = 0,
    augment: bool = True,
    device: torch.device | str = "cpu",
    **options: Any,
) -> PuzzleVectorEnv:
    """`num_envs` Sudokus on a device; arguments as in `make_env`, options those of PuzzleVectorEnv."""
    source = sudoku_source(size, split, extra_givens, pool_size, pool_seed, augment, str(device))
    return PuzzleVectorEnv(num_envs, source, device=device, **options)


def sudoku_source(
    size: int,
    split: Split = "train",
    extra_givens: int | tuple[int, int] = 0,
    pool_size: int = 1000,
    pool_seed: int = 0,
    augment: bool = True,
    device: str = "cpu",
) -> PoolSource:
    """A generated pool times symmetries. Pools are shared between environments of a process."""
    dial = extra_givens if isinstance(extra_givens, int) else (extra_givens[0], extra_givens[1])
    arrays = _pool(size, split, dial, pool_size, pool_seed)
    return PoolSource(
        arrays,
        sudoku.vocab_size(size),
        symmetry=sudoku.symmetry(size) if augment else None,
        device=device,
        validator=sudoku_validator(size, device),
    )


@lru_cache(maxsize=8)
def _pool(size: int, split: Split, extra: int | tuple[int, int], count: int, seed: int) -> Any:
    return sudoku.generate(count, size, seed=seed, extra_givens=extra, split=split, rate=True)


def sudoku_validator(
    size: int, device: torch.device | str = "cpu"
) -> Callable[[Tensor, Tensor], Tensor]:
    """Any right answer: the givens stand, and every row, column and box holds every digit once."""
    return partial(_is_valid, *BOXES[check_size(size)])


def _is_valid(box_rows: int, box_columns: int, inputs: Tensor, answers: Tensor) -> Tensor:
    """Boxes of so many rows and columns; inputs and answers [B, S]."""
    size = box_rows * box_columns
    digits = answers.long() - sudoku.FIRST_DIGIT
    in_range = (digits >= 0) & (digits < size)
    # Four bits a digit count up to nine of it, so one sum sees a whole unit.
    counts = torch.where(in_range, 1 << 4 * digits.clamp(0, size - 1), 0).view(-1, size, size)
    boxes = counts.view(-1, box_columns, box_rows, box_rows, box_columns)
    units = torch.cat([counts.sum(2), counts.sum(1), boxes.sum((2, 4)).flatten(1)], 1)
    kept = (inputs <= sudoku.BLANK) | (inputs == answers)
    every_digit_once = sum(1 << 4 * d for d in range(size))
    # Counting them is several times faster than .all(-1).
    mistakes = (~(in_range & kept)).sum(-1) + (units != every_digit_once).sum(-1)
    return mistakes == 0
