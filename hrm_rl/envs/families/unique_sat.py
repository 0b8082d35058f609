"""`HRM/UniqueSAT-v0`: the one assignment that satisfies a 3-SAT formula. Single and vector.

Tokens, rating and splits are those of `hrm_rl.puzzles.unique_sat`; rotations of the clauses and orders of
their literals augment. Renaming and negating variables do not: take a large `pool_size`.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.source import Validator
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.families.family import EnvFamily
from hrm_rl.puzzles import unique_sat
from hrm_rl.puzzles.unique_sat import FALSE, TRUE


def make_env(variables: int = 12, extra_clauses: int = 0, **options: Any) -> PuzzleEnv:
    """One formula.

    Args:
        variables: of the formula, 4 to 20.
        extra_clauses: redundant clauses on top of those that are needed, 0 to 200.
        options: split, pool_size, pool_seed, augment as in `EnvFamily.single`, and those of `PuzzleEnv`.
    """
    return _FAMILY.single({"variables": variables, "extra_clauses": extra_clauses}, **options)


def make_vector_env(
    num_envs: int = 1, variables: int = 12, extra_clauses: int = 0, **options: Any
) -> PuzzleVectorEnv:
    """`num_envs` formulas; arguments as in `make_env`, and device, and those of PuzzleVectorEnv."""
    dials = {"variables": variables, "extra_clauses": extra_clauses}
    return _FAMILY.vector(num_envs, dials, **options)


def validator(
    device: torch.device | str = "cpu", variables: int = 12, extra_clauses: int = 0
) -> Validator:
    """Any right answer (there is one): every variable has a value, every clause a true literal."""
    return partial(_is_valid, variables)


def _is_valid(variables: int, inputs: Tensor, answers: Tensor) -> Tensor:
    true, false = answers[:, :variables] == TRUE, answers[:, :variables] == FALSE
    # The truth of every token: of PAD, so that empty rows are satisfied, and of all literals.
    pad, others = torch.ones_like(true[:, :1]), torch.zeros_like(true[:, :3])
    truth = torch.cat([pad, others, true, false], 1)  # [B, V]
    literals = truth.gather(1, inputs[:, variables:].long()).view(len(inputs), -1, 3)
    return literals.any(-1).all(-1) & (true | false).all(-1)


_FAMILY = EnvFamily(unique_sat, validator)
