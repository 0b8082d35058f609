"""What the vector environments share: seeds and resets of rows, the clock, and infos with masks."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from hrm_rl.envs.core.row_keys import Order, RowKeys, read_reset_mask, reseed


class RowsVectorEnv(VectorEnv):
    """Episodes side by side, one a row. `state` is a NamedTuple of [B, ...] with the fields
    `segment` and `episode_return`.

    A subclass defines `_fresh`, `_select`, `_observe` and `_puzzle_info`.
    """

    def __init__(
        self,
        num_envs: int,
        autoreset_mode: AutoresetMode | str,
        order: Order,
        device: torch.device | str,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be >= 1, got {num_envs}")
        self.num_envs = num_envs
        self.device = torch.device(device)
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
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: row i is seeded with `seed + i`, or with the i-th of a list, and starts at its
                puzzle 0; None goes on with the next puzzles (random ones at first).
            options: {"reset_mask": bool [num_envs]} resets, and seeds, those rows only.
        """
        started = self.state is not None
        mask = read_reset_mask(options, self.num_envs, self.device, started)
        where = self._all if mask is None else mask
        reseed(self, self._keys, seed, mask, started)
        fresh = self._fresh(where)
        self.state = self._select(where, fresh, self.state) if started else fresh
        self._start_clock(where)
        return self._observe(self.state), self._puzzle_info(self.state, self._all)

    def close_extras(self, **kwargs: Any) -> None:
        self.state = None

    def _fresh(self, taking: Tensor) -> Any:
        """A new episode for every row; only the rows of `taking` (bool [B]) consume theirs."""
        raise NotImplementedError

    def _select(self, where: Tensor, new: Any, old: Any) -> Any:
        """The state with the rows of `new` if `where` (bool [B]) holds, else of `old`."""
        raise NotImplementedError

    def _observe(self, state: Any) -> Any:
        raise NotImplementedError

    def _puzzle_info(self, state: Any, mask: Tensor) -> dict[str, Any]:
        """The info on the rows' puzzles, with masks."""
        raise NotImplementedError

    def _step_info(
        self, verdict: dict[str, Any], final: Any, final_obs: Any, ended: Tensor
    ) -> dict[str, Any]:
        """The info of a step: `final` is the state before any automatic reset, `ended` the rows, bool [B],
        whose episode ended at this step."""
        duration = self._now() - self._began
        last = {
            "episode": {"r": final.episode_return, "l": final.segment, "t": duration},
            "final_obs": final_obs,
            "final_info": self._puzzle_info(final, ended) | masked(verdict, ended),
        }
        now = self._puzzle_info(self.state, self._all) | masked(verdict, self._all)
        return now | masked(last, ended)

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
