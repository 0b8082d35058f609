"""What the vector environments share: keys of puzzles, resets of rows, the clock, and infos with masks."""

import copy
import time
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal

import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from hrm_rl.envs.core.transition import Step, select
from hrm_rl.envs.to_numpy import refuse_numpy_wrappers
from hrm_rl.hashing import as_keys, mix
from hrm_rl.settings import check_counts
from hrm_rl.tensors import as_tensor, usable_device

Order = Literal["hash", "epoch"]


class RowKeys:
    """The key of each row's next puzzle, from a seed and a counter a row: the only state.

    In order "hash" row i's k-th key is a pure hash of (seed_i, k); in order "epoch" the rows walk
    the keys 0, 1, 2, ... together, each key once. No host synchronisation.
    """

    def __init__(self, rows: int, order: Order, device: torch.device) -> None:
        if order not in ("hash", "epoch"):
            raise ValueError(f"order must be 'hash' or 'epoch', got {order!r}")
        self.order = order
        self.seeds = torch.zeros(rows, dtype=torch.int64, device=device)
        self.drawn = torch.zeros_like(self.seeds)
        self.cursor = torch.zeros((), dtype=torch.int64, device=device)

    def seed(self, seeds: list[int], where: Tensor | None = None) -> None:
        """Rows of `where` (bool [B]; all by default) start over at their key 0, with these seeds."""
        new = as_keys(seeds, self.seeds.device)
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


class RowsVectorEnv(VectorEnv):
    """Episodes side by side, one a row. `state` is a NamedTuple of [B, ...] with the fields
    `segment` and `episode_return`.

    A subclass defines `_fresh`, `_observe` and `_puzzle_info`.
    """

    def __init__(
        self, num_envs: int, autoreset_mode: AutoresetMode | str, order: Order, device: torch.device | str
    ) -> None:
        check_counts(num_envs=num_envs)
        self.num_envs = int(num_envs)
        self.device = usable_device(device)
        mode = read_autoreset_mode(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": mode}
        self.render_mode = None
        self.state: Any = None
        self._keys = RowKeys(num_envs, order, self.device)
        self._all = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self._began = torch.zeros(num_envs, device=self.device)
        self._clock_start = time.perf_counter()

    def _set_spaces(self, observation: spaces.Space, action: spaces.Space) -> None:
        self.single_observation_space, self.single_action_space = observation, action
        self.observation_space = batch_space(observation, self.num_envs)
        self.action_space = batch_space(action, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: row i is seeded with `seed + i`, or with the i-th of a list, and starts at its
                puzzle 0; None goes on with the next puzzles (random ones at first).
            options: {"reset_mask": bool [num_envs]} resets, and seeds, those rows only.
        """
        refuse_numpy_wrappers(self)
        started = self.state is not None
        mask = self._reset_mask(options)
        where = self._all if mask is None else mask
        if seed is not None or not started:
            self._keys.seed(self._row_seeds(seed), mask)
        fresh = self._fresh(where)
        self.state = select(where, fresh, self.state) if started else fresh
        self._start_clock(where)
        return self._observe(self.state), self._puzzle_info(self.state, self._all)

    def close_extras(self, **kwargs: Any) -> None:
        self.state = None

    def _reset_mask(self, options: dict[str, Any] | None) -> Tensor | None:
        if not isinstance(options, dict | None):
            raise ValueError(f"reset's options must be a dict, got {options!r}")
        unknown = set(options or {}) - {"reset_mask"}
        if unknown:
            raise ValueError(f"reset takes the option 'reset_mask', not {', '.join(map(repr, unknown))}")
        if not options or options.get("reset_mask") is None:
            return None
        if self.state is None:
            raise RuntimeError("the first reset resets every row; reset_mask comes later")
        mask = as_tensor("reset_mask", options["reset_mask"]).to(self.device)
        if mask.shape != (self.num_envs,) or mask.dtype != torch.bool:
            raise ValueError(
                f"reset_mask must be bool of shape ({self.num_envs},), got {mask.dtype} of "
                f"{tuple(mask.shape)}"
            )
        return mask

    def _row_seeds(self, seed: int | Sequence[int | None] | None) -> list[int]:
        """A seed a row: `seed + i`, or the i-th of a list; None is a random seed."""
        if not isinstance(seed, Sequence):
            super().reset(seed=seed)  # np_random
            first = self.np_random.integers(1 << 62) if seed is None else seed
            return [int(first) + i for i in range(self.num_envs)]
        super().reset(seed=next(iter(seed), None))
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds for {self.num_envs} environments")
        for given in seed:
            if given is not None and not isinstance(given, Integral):
                raise ValueError(f"a seed is an integer or None, got {given!r}")
        fill = self.np_random.integers(1 << 62, size=self.num_envs).tolist()
        return [f if s is None else int(s) for s, f in zip(seed, fill, strict=True)]

    def _fresh(self, taking: Tensor) -> Any:
        """A new episode for every row; only the rows of `taking` (bool [B]) consume theirs."""
        raise NotImplementedError

    def _observe(self, state: Any) -> Any:
        raise NotImplementedError

    def _puzzle_info(self, state: Any, mask: Tensor) -> dict[str, Any]:
        """The info on the rows' puzzles, with masks."""
        raise NotImplementedError

    def _taking(self, ends: Tensor) -> Tensor | None:
        """The rows that take a new episode at a step that ends these; None if ended rows freeze."""
        takers = {AutoresetMode.SAME_STEP: ends, AutoresetMode.NEXT_STEP: self.state.ended}
        return takers.get(self.metadata["autoreset_mode"])

    def _outcome(
        self, step: Step, taking: Tensor | None, **metrics: Tensor
    ) -> tuple[Any, Tensor, Tensor, Tensor, dict[str, Any]]:
        """The return value of a step, after the rows of `taking` took new episodes (None: no row can)."""
        final, ended = step.final, step.ended_now
        verdict = step.judgement._asdict() | metrics
        duration = self._now() - self._began
        last = {
            "episode": {"r": final.episode_return, "l": final.segment, "t": duration},
            "final_obs": self._observe(final),
            "final_info": self._puzzle_info(final, ended) | masked(verdict, ended),
        }
        info = self._puzzle_info(self.state, self._all) | masked(verdict, self._all)
        if taking is not None:
            self._start_clock(taking)
        truncated = torch.zeros_like(step.terminated)
        obs = self._observe(self.state)
        return obs, step.reward, step.terminated, truncated, info | masked(last, ended)

    def _start_clock(self, where: Tensor) -> None:
        self._began = torch.where(where, self._now(), self._began)

    def _now(self) -> float:
        return time.perf_counter() - self._clock_start


def masked(values: dict[str, Any], mask: Tensor) -> dict[str, Any]:
    """An info with the mask of each key, as in Gymnasium's vector environments."""
    return values | {f"_{key}": mask for key in values}


def read_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Gymnasium's mode, given as itself, its name (SAME_STEP) or its value (SameStep)."""
    for known in AutoresetMode:
        if mode in (known, known.name, known.value):
            return known
    names = ", ".join(known.name for known in AutoresetMode)
    raise ValueError(f"autoreset_mode must be one of {names}; got {mode!r}")
