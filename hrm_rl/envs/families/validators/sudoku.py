"""A right answer keeps the givens and holds every digit once in each row, column and box."""

from functools import partial

import torch
from torch import Tensor

from hrm_rl.envs.core.source import Validator
from hrm_rl.puzzles.sudoku import BLANK, FIRST_DIGIT, Sudoku
from hrm_rl.puzzles.sudoku.layout import BOXES


def validator(family: Sudoku) -> Validator:
    return partial(_is_valid, *BOXES[family.size])


def _is_valid(box_rows: int, box_columns: int, inputs: Tensor, answers: Tensor) -> Tensor:
    """bool [B] for inputs and answers [B, S]."""
    size = box_rows * box_columns
    digits = answers.long() - FIRST_DIGIT
    in_range = (digits >= 0) & (digits < size)
    # Four bits a digit count up to nine of it, so one sum sees a whole unit.
    counts = torch.where(in_range, 1 << 4 * digits.clamp(0, size - 1), 0).view(-1, size, size)
    boxes = counts.view(-1, box_columns, box_rows, box_rows, box_columns)
    units = torch.cat([counts.sum(2), counts.sum(1), boxes.sum((2, 4)).flatten(1)], 1)
    kept = (inputs <= BLANK) | (inputs == answers)
    every_digit_once = sum(1 << 4 * d for d in range(size))
    # Counting them is several times faster than .all(-1).
    mistakes = (~(in_range & kept)).sum(-1) + (units != every_digit_once).sum(-1)
    return mistakes == 0
