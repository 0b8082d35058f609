"""The one right answer: every variable has a value and every clause a true literal."""

from functools import partial

import torch
from torch import Tensor

from hrm_rl.envs.core.source import Validator
from hrm_rl.puzzles.unique_sat import FALSE, TRUE, UniqueSAT


def validator(family: UniqueSAT) -> Validator:
    return partial(_is_valid, family.variables)


def _is_valid(variables: int, inputs: Tensor, answers: Tensor) -> Tensor:
    true, false = answers[:, :variables] == TRUE, answers[:, :variables] == FALSE
    # The truth of every token: of PAD, so that empty rows are satisfied, and of all literals.
    pad, others = torch.ones_like(true[:, :1]), torch.zeros_like(true[:, :3])
    truth = torch.cat([pad, others, true, false], 1)  # [B, V]
    literals = truth.gather(1, inputs[:, variables:].long()).view(len(inputs), -1, 3)
    return literals.any(-1).all(-1) & (true | false).all(-1)
