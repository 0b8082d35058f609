"""From a family of puzzles to its environments: pool, symmetry, validator, pictures.

A family's file in this folder names its dials and its validator, and leaves the rest to `single` and
`vector`:

    _FAMILY = EnvFamily(life, _validator)

    def make_env(size: int = 10, steps: int = 4, **options: Any) -> PuzzleEnv:
        return _FAMILY.single({"size": size, "steps": steps}, **options)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import torch

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.source import PoolSource, Validator
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.puzzles.family import Family
from hrm_rl.puzzles.pool import PuzzleArrays

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class EnvFamily:
    """A family as environments.

    Attributes:
        puzzles: the family's module in `hrm_rl.puzzles`.
        validator: `validator(device, **dials)`, the check for any right answer on that device.
    """

    puzzles: Family
    validator: Callable[..., Validator]

    def source(
        self,
        dials: Mapping[str, Any],
        *,
        split: Split = "train",
        pool_size: int = 1000,
        pool_seed: int = 0,
        augment: bool = True,
        device: torch.device | str = "cpu",
    ) -> PoolSource:
        """A generated pool times the family's symmetries. Pools are shared within a process.

        Args:
            dials: the family's own, by name.
            split: classes of puzzles for training, or those held out.
            pool_size: distinct puzzles in the pool.
            pool_seed: which pool.
            augment: apply a random symmetry to every puzzle drawn, where the family has any.
            device: where the pool lies.
        """
        module: Any = self.puzzles  # modules are hashable, which mypy does not see
        arrays = _pool(module, tuple(dials.items()), split, pool_size, pool_seed)
        return PoolSource(
            arrays,
            self.puzzles.vocab_size(**dials),
            symmetry=self.puzzles.symmetry(**dials) if augment else None,
            device=device,
            validator=self.validator(device, **dials),
        )

    def single(
        self,
        dials: Mapping[str, Any],
        *,
        split: Split = "train",
        pool_size: int = 1000,
        pool_seed: int = 0,
        augment: bool = True,
        **options: Any,
    ) -> PuzzleEnv:
        """One environment, with pictures; pool as in `source`, options those of `PuzzleEnv`."""
        return PuzzleEnv(
            self.source(
                dials, split=split, pool_size=pool_size, pool_seed=pool_seed, augment=augment
            ),
            drawer=partial(self.puzzles.draw, **dials),
            picture=partial(self.puzzles.picture, **dials),
            **options,
        )

    def vector(
        self,
        num_envs: int,
        dials: Mapping[str, Any],
        *,
        split: Split = "train",
        pool_size: int = 1000,
        pool_seed: int = 0,
        augment: bool = True,
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> PuzzleVectorEnv:
        """`num_envs` of them on a device; options are those of `PuzzleVectorEnv`."""
        source = self.source(
            dials,
            split=split,
            pool_size=pool_size,
            pool_seed=pool_seed,
            augment=augment,
            device=device,
        )
        return PuzzleVectorEnv(num_envs, source, device=device, **options)


@lru_cache(maxsize=16)
def _pool(
    puzzles: Family, dials: tuple[tuple[str, Any], ...], split: Split, count: int, seed: int
) -> PuzzleArrays:
    return puzzles.generate(count, seed=seed, split=split, rate=True, **dict(dials))
