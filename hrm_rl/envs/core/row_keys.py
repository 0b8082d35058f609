"""The key of each row's next puzzle: seeds and counters are the only state."""

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from hrm_rl.hashing import as_keys, mix

Order = Literal["hash", "epoch"]
ORDERS: tuple[Order, ...] = ("hash", "epoch")


class RowKeys:
    """Keys of puzzles, one row an environment.

    In order "hash" row i's k-th key is a pure hash of (seed_i, k); in order "epoch" the rows walk
    the keys 0, 1, 2, ... together, each key once. No host synchronisation.
    """

    def __init__(self, rows: int, order: Order, device: torch.device) -> None:
        if order not in ORDERS:
            raise ValueError(f"order must be 'hash' or 'epoch', got {order!r}")
        self.order = order
        self.device = device
        self.seeds = torch.zeros(rows, dtype=torch.int64, device=device)
        self.drawn = torch.zeros_like(self.seeds)
        self.cursor = torch.zeros((), dtype=torch.int64, device=device)

    def seed(self, seeds: list[int], where: Tensor | None = None) -> None:
        """Rows of `where` (bool [B]; all by default) start over at their key 0, with these seeds."""
        new = as_keys(seeds, self.device)
        if where is None:
            self.seeds, self.drawn = new, torch.zeros_like(self.drawn)
            self.cursor = torch.zeros_like(self.cursor)
        else:
            self.seeds = torch.where(where, new, self.seeds)
            self.drawn = torch.where(where, 0, self.drawn)

    def draw(self, taking: Tensor) -> Tensor:
        """A key for every row, int64 [B]; the rows of `taking` (bool [B]) use theirs up."""
        if self.order == "hash":
            keys = mix(mix(self.seeds) + self.drawn)
            self.drawn = self.drawn + taking
        else:
            keys = self.cursor + taking.cumsum(0) - 1
            self.cursor = self.cursor + taking.sum()
        return keys

    def take(self, rows: Tensor) -> "RowKeys":
        """The keys of these rows only, int64 [K]."""
        fewer = copy.copy(self)
        fewer.seeds, fewer.drawn = self.seeds[rows], self.drawn[rows]
        return fewer


def reseed(
    env: VectorEnv,
    keys: RowKeys,
    seed: int | Sequence[int | None] | None,
    mask: Tensor | None,
    started: bool,
) -> None:
    """Apply the `seed` of `env.reset` to the rows of `mask` (all by default).

    None goes on with the next puzzles; before the first reset it draws a random seed. Raises ValueError for a
    list whose length is not the number of rows.
    """
    if seed is not None:
        # np_random fills in a list's None; it is seeded by the list's first entry.
        first = next(iter(seed), None) if isinstance(seed, Sequence) else seed
        VectorEnv.reset(env, seed=first)
    elif not started:
        seed = int(env.np_random.integers(1 << 62))
    else:
        return
    keys.seed(spread_seeds(seed, env.num_envs, env.np_random), mask)


def spread_seeds(
    seed: int | Sequence[int | None], rows: int, np_random: np.random.Generator
) -> list[int]:
    """A seed a row: `seed + i`, or the i-th of a list, with a random one for None.

    Raises ValueError for a list of another length.
    """
    if not isinstance(seed, Sequence):
        return [int(seed) + i for i in range(rows)]
    if len(seed) != rows:
        raise ValueError(f"{len(seed)} seeds for {rows} environments")
    fill = np_random.integers(1 << 62, size=rows).tolist()
    return [f if s is None else int(s) for s, f in zip(seed, fill, strict=True)]


def read_reset_mask(
    options: dict[str, Any] | None, rows: int, device: torch.device, started: bool
) -> Tensor | None:
    """options["reset_mask"] as bool [B] on the device, or None without one.

    Raises ValueError for another form, RuntimeError before the first reset.
    """
    if not options or options.get("reset_mask") is None:
        return None
    if not started:
        raise RuntimeError("the first reset resets every row; reset_mask comes later")
    mask = torch.as_tensor(options["reset_mask"], device=device)
    if mask.shape != (rows,) or mask.dtype != torch.bool:
        raise ValueError(
            f"reset_mask must be bool of shape ({rows},), got {mask.dtype} of {tuple(mask.shape)}"
        )
    return mask
