"""Halting over a trace bank: a step looks up the recorded segments of every row."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from hrm_rl.envs.core.row_keys import Order, RowKeys, read_reset_mask, reseed
from hrm_rl.envs.core.transition import Checker, EpisodeSettings, reward
from hrm_rl.envs.core.vector import read_autoreset_mode
from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.bank.replay import bank_features
from hrm_rl.halting.vector import FEATURE_HIGH, FEATURE_LOW, feature_vector
from hrm_rl.hashing import below, stream


class Outcomes(NamedTuple):
    """The judgement of each draft of a bank, all [N * M], row-major."""

    correct: Tensor  # bool
    valid: Tensor  # bool
    cell_accuracy: Tensor  # float32
    first_correct_segment: Tensor  # int64: up to this segment; 0 = none yet


class HaltingState(NamedTuple):
    """The state of every row, all [B]."""

    puzzle_key: Tensor  # int64: the key the puzzle was drawn by
    bank_row: Tensor  # int64: the puzzle, as a row of the bank
    segment: Tensor  # int64: segments run, >= 1
    episode_return: Tensor  # float32
    ended: Tensor  # bool: judged and not yet reset (never under same-step)


class HaltingVectorEnv(VectorEnv):
    """`num_envs` recorded puzzles side by side; an action continues (0) or halts (1).

    Observation: `feature_vector` of the last segment, float32 [B, F], |x| <= 10; `reset` runs the first
    segment. Reward of every action: -segment_cost for the segment it responds to, plus 1 if the episode
    ends and the draft is right. So the return is right - segment_cost * segments, with one action a
    segment, and rewards equal those of `PuzzleVectorEnv` step by step. At segment `halt_max_steps` either
    action submits the draft. The environment itself never truncates.

    Info, all tensors on the device: `puzzle_key`, `bank_row` and `rating` of the puzzle in the returned
    observation, from reset and step; and from every step, whether or not a row ended, `correct`, `valid`,
    `cell_accuracy`, `segments`, `first_correct_segment` and `forced` of the draft the action applied to,
    `episode` {r, l, t}, `final_obs` and `final_info`. Every key has its `_key` mask.

    Row i's k-th puzzle is a pure hash of (seed + i, k). With `order="epoch"` the rows instead share one
    pass over the bank's rows 0, 1, 2, ..., each once; drafts past the end are wrong.

    Returned tensors belong to the environment: clone them before writing into them.

    Args:
        num_envs: rows, B.
        bank: all its rows are played.
        segment_cost: subtracted at every segment.
        halt_max_steps: segments after which the draft is submitted; by default all recorded segments.
        checker: the judgement that pays: the stored solution ("exact") or any right answer ("valid").
        pooled: append the bank's pooled z_H to the observation.
        autoreset_mode: SAME_STEP, NEXT_STEP (ended rows ignore the next action), or DISABLED (ended
            rows freeze until reset with options={"reset_mask": bool [B]}).
        order: "hash" or "epoch".
        device: of the bank's tables and of everything returned.

    Raises:
        ValueError: a setting is out of range, or the bank lacks a needed column.
    """

    def __init__(
        self,
        num_envs: int,
        bank: TraceBank,
        *,
        segment_cost: float = 0.01,
        halt_max_steps: int | None = None,
        checker: Checker = "exact",
        pooled: bool = False,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        order: Order = "hash",
        device: torch.device | str = "cpu",
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be >= 1, got {num_envs}")
        limit = bank.num_segments if halt_max_steps is None else halt_max_steps
        self.settings = EpisodeSettings(limit, segment_cost, checker)
        if limit > bank.num_segments:
            raise ValueError(
                f"halt_max_steps={limit}, but the bank has {bank.num_segments} segments a puzzle"
            )
        self.num_envs = num_envs
        self.bank = bank
        self.pooled = pooled
        self.device = torch.device(device)
        mode = read_autoreset_mode(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": mode}
        self.render_mode = None
        self._table = _feature_table(bank, pooled).to(self.device)  # [N * M, F]
        self._outcomes = Outcomes(*(t.to(self.device) for t in _outcomes(bank)))
        self._pays = self._outcomes.correct if checker == "exact" else self._outcomes.valid
        rating = torch.as_tensor(bank.rating, dtype=torch.float32, device=self.device)
        self._rating = torch.where(rating.isnan(), -1.0, rating)  # as in PuzzleVectorEnv
        self.single_observation_space = halting_observation_space(self._table.shape[1])
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.state: HaltingState | None = None
        self._keys = RowKeys(num_envs, order, self.device)
        self._all = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self._began = torch.zeros(num_envs, device=self.device)
        self._clock_start = time.perf_counter()

    # --- Gymnasium's interface ---------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Start new episodes and run their first segment. Arguments as in `PuzzleVectorEnv.reset`."""
        started = self.state is not None
        mask = read_reset_mask(options, self.num_envs, self.device, started)
        reseed(self, self._keys, seed, mask, started)
        where = self._all if mask is None else mask
        fresh = self._fresh(where)
        self.state = fresh if self.state is None else _select(where, fresh, self.state)
        self._began = torch.where(where, self._now(), self._began)
        self._see()
        return self._observation, self._puzzle_info(self.state, self._all)

    def step(self, actions: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Continue (0) or halt (1): [B] integers or booleans, tensor or NumPy."""
        if self.state is None:
            raise RuntimeError("call reset() before step()")
        halt = read_halt(actions, self.num_envs, self.device)
        state, mode = self.state, self.metadata["autoreset_mode"]
        running = ~state.ended
        ends = running & (halt | (state.segment >= self.settings.halt_max_steps))
        paid = self._judged(self._pays)
        gained = reward(paid, ends, running, self.settings.segment_cost)
        final = state._replace(
            episode_return=state.episode_return + gained, ended=state.ended | ends
        )
        info = self._final_info(final, ends, halt)
        goes_on = final._replace(segment=state.segment + ~final.ended)
        terminated = ends
        if mode == AutoresetMode.DISABLED:
            self.state, terminated = goes_on, final.ended
        else:
            taking = ends if mode == AutoresetMode.SAME_STEP else state.ended
            self.state = _select(taking, self._fresh(taking), goes_on)
            self._began = torch.where(taking, self._now(), self._began)
        self._see()
        info |= self._puzzle_info(self.state, self._all)
        return self._observation, gained, terminated, torch.zeros_like(terminated), info

    def close_extras(self, **kwargs: Any) -> None:
        self.state = None

    # --- states and judgements --------------------------------------------------------------------

    def _fresh(self, taking: Tensor) -> HaltingState:
        """A new episode for every row; only the rows of `taking` consume theirs."""
        keys = self._keys.draw(taking)
        count = self.bank.num_puzzles
        if self._keys.order == "hash":
            row = below(stream(keys, 0), count)  # as a PoolSource picks from its pool
        else:
            row = keys.clamp(0, count - 1)
        segment = torch.ones_like(keys)
        return HaltingState(keys, row, segment, torch.zeros_like(self._began), ~self._all)

    def _see(self) -> None:
        """Look up the observation of every row."""
        assert self.state is not None
        self._at = self.state.bank_row * self.bank.num_segments + (self.state.segment - 1)
        self._observation = self._table.index_select(0, self._at)

    def _judged(self, table: Tensor) -> Tensor:
        """A column of outcomes at every row's segment; past the end nothing is right."""
        assert self.state is not None
        value = table.index_select(0, self._at)
        if self._keys.order == "epoch":
            value = torch.where(self.state.puzzle_key < self.bank.num_puzzles, value, 0)
        return value.to(table.dtype)

    def _now(self) -> float:
        return time.perf_counter() - self._clock_start

    # --- infos -----------------------------------------------------------------------------------

    def _puzzle_info(self, state: HaltingState, mask: Tensor) -> dict[str, Any]:
        rating = self._rating.index_select(0, state.bank_row)
        puzzle = {"puzzle_key": state.puzzle_key, "bank_row": state.bank_row, "rating": rating}
        return _masked(puzzle, mask)

    def _final_info(self, final: HaltingState, ends: Tensor, halt: Tensor) -> dict[str, Any]:
        judgement = {name: self._judged(t) for name, t in self._outcomes._asdict().items()}
        judgement |= {"segments": final.segment, "forced": ends & ~halt}
        length, duration = final.segment, self._now() - self._began
        ended = {
            "episode": {"r": final.episode_return, "l": length, "t": duration},
            "final_obs": self._observation,
            "final_info": self._puzzle_info(final, ends) | _masked(judgement, ends),
        }
        return _masked(judgement, self._all) | _masked(ended, ends)


def halting_observation_space(size: int) -> spaces.Box:
    """The space of a feature vector of this size."""
    return spaces.Box(FEATURE_LOW, FEATURE_HIGH, (size,), np.float32)


def read_halt(actions: Any, rows: int, device: torch.device) -> Tensor:
    """Actions as bool [B] on the device. Raises ValueError for another shape."""
    halt = torch.as_tensor(actions, device=device)
    if halt.shape != (rows,):
        raise ValueError(
            f"actions have shape {tuple(halt.shape)}; expected ({rows},): 0 continues, 1 halts"
        )
    return halt.bool()


def _masked(values: dict[str, Any], mask: Tensor) -> dict[str, Any]:
    return values | {f"_{key}": mask for key in values}


def _select(where: Tensor, new: HaltingState, old: HaltingState) -> HaltingState:
    return HaltingState(*(torch.where(where, a, b) for a, b in zip(new, old, strict=True)))


def _feature_table(bank: TraceBank, pooled: bool) -> Tensor:
    """The observation after every segment of every puzzle, float32 [N * M, F]."""
    needs = frozenset({"pooled_z_H"} if pooled else ())
    return feature_vector(bank_features(bank, needs), pooled=pooled).contiguous()


def _outcomes(bank: TraceBank) -> Outcomes:
    segment = np.arange(1, bank.num_segments + 1)
    first = bank.first_correct[:, None]
    so_far = np.where((first > 0) & (first <= segment), first, 0)
    columns = (bank.correct, bank.valid, bank.cell_accuracy.astype(np.float32), so_far)
    return Outcomes(*(torch.from_numpy(np.ascontiguousarray(c).reshape(-1)) for c in columns))
