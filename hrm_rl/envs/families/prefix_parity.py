"""`HRM/PrefixParity-v0`: are the ones up to each bit odd in number? Single and vector.

Tokens, rating and splits are those of `hrm_rl.puzzles.prefix_parity`; nothing augments.
"""

from typing import Any

import torch
from torch import Tensor

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.source import Validator
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.families.family import EnvFamily
from hrm_rl.puzzles import prefix_parity


def make_env(length: int = 16, min_length: int | None = None, **options: Any) -> PuzzleEnv:
    """One row of bits.

    Args:
        length: bits of the longest row, and cells, 4 to 1024.
        min_length: bits of the shortest; by default all have `length`.
        options: split, pool_size, pool_seed, augment as in `EnvFamily.single`, and those of `PuzzleEnv`.
    """
    return _FAMILY.single({"length": length, "min_length": min_length}, **options)


def make_vector_env(
    num_envs: int = 1, length: int = 16, min_length: int | None = None, **options: Any
) -> PuzzleVectorEnv:
    """`num_envs` rows of bits; arguments as in `make_env`, and device, and those of PuzzleVectorEnv."""
    return _FAMILY.vector(num_envs, {"length": length, "min_length": min_length}, **options)


def validator(device: torch.device | str = "cpu", **dials: Any) -> Validator:
    """Any right answer (there is one): every bit has its parity; answers behind the bits do not count."""
    return _is_valid


def _is_valid(inputs: Tensor, answers: Tensor) -> Tensor:
    parity = (inputs == prefix_parity.ONE).cumsum(-1) % 2  # [B, S]
    right = answers == parity + prefix_parity.ZERO
    return ((inputs == prefix_parity.PAD) | right).all(-1)


_FAMILY = EnvFamily(prefix_parity, validator)
