"""The environments `HRM/LightsOut-v0`, ... of every family in `hrm_rl.puzzles.FAMILIES`, single and vector.

    env = gym.make("HRM/LightsOut-v0", size=6, presses=3, split="test", halt_max_steps=8)
    envs = gym.make_vec("HRM/Sudoku-v0", num_envs=256, size=4, device="cpu")

A family's class documents its puzzles, tokens, dials and rating. All environments share the rest:

Observation: `Dict`: `inputs` and `draft`, `Box` [S] of tokens below the vocabulary's size V;
`puzzle_identifiers`; and `segment`, the segments run. After a reset the draft is the puzzle.
Action: `Dict`: `answer`, `MultiDiscrete` [V] * S, the new draft; and `halt`, `Discrete(2)`.
Reward: `segment_cost` is subtracted at every step; a right answer at the end pays 1. With `checker="exact"`
the stored answer is right, with `"valid"` any right answer.
End: the episode terminates when the agent halts or after `halt_max_steps` segments; its draft is then judged.
It is never truncated.
Info: `labels` (-100 in cells that are not judged), `rating` and `puzzle_key` of the puzzle; after a step
`correct`, `valid`, `cell_accuracy`, `segments`, `first_correct_segment`, `forced` and `is_success` too.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.source import PoolSource
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.families.validators import validator_of
from hrm_rl.envs.options import split_options
from hrm_rl.puzzles import find_family
from hrm_rl.puzzles.base.splits import Split
from hrm_rl.puzzles.family import Family
from hrm_rl.puzzles.pool import PuzzleArrays


def make_env(family: str, **options: Any) -> PuzzleEnv:
    """One environment, with drawings.

    Args:
        family: a name in `hrm_rl.puzzles.FAMILIES`.
        options: the family's dials; split, pool_size, pool_seed and augment of `family_source`; and those
            of `PuzzleEnv`: halt_max_steps, segment_cost, checker, flat_action, render_mode.

    Raises ValueError for a dial or option out of range.
    """
    return _make(PuzzleEnv, family, "cpu", options)


def make_vector_env(
    num_envs: int = 1, *, family: str, device: torch.device | str = "cpu", **options: Any
) -> PuzzleVectorEnv:
    """`num_envs` environments on a device; other arguments as in `make_env`, options of PuzzleVectorEnv."""
    make = partial(PuzzleVectorEnv, num_envs, device=device)
    return _make(make, family, device, options)


def _make(make: Callable[..., Any], name: str, device: torch.device | str, options: dict[str, Any]) -> Any:
    """The environment of `make`, from dials, options of `family_source`, and those of `make`."""
    family = find_family(name)
    dials, pool, others = split_options(options, family, family_source, make)
    puzzles = family(**dials)
    source = family_source(puzzles, device=device, **pool)
    return make(source, drawer=puzzles.draw, picture=puzzles.picture, **others)


def family_source(
    family: Family,
    *,
    split: Split = "train",
    pool_size: int = 1000,
    pool_seed: int = 0,
    augment: bool | None = None,
    device: torch.device | str = "cpu",
) -> PoolSource:
    """A pool of generated, rated puzzles times the family's symmetries. A process makes each pool once.

    Args:
        family: the puzzles, such as `Sudoku(size=4)`.
        split: the classes of puzzles: "train", or those held out, "validation" and "test".
        pool_size: puzzles in the pool, the first of its seed; on small boards some may be the same.
        pool_seed: the seed of the pool.
        augment: True applies a random symmetry to every puzzle drawn, False none; None applies those that
            keep labels right (see `Family.augmentation`).
        device: the device that holds the pool.
    """
    symmetry = family.augmentation if augment is None else family.symmetry if augment else None
    return PoolSource(
        _pool(family, split, pool_size, pool_seed),
        family.vocab_size,
        symmetry=symmetry,
        device=device,
        validator=validator_of(family),
        relations=family.relations,
    )


@lru_cache(maxsize=16)
def _pool(family: Family, split: Split, count: int, seed: int) -> PuzzleArrays:
    return family.generate(count, seed=seed, split=split, rate=True)
