"""Halting over a trace bank: a step looks up the recorded segments of every row."""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from torch import Tensor

from hrm_rl.envs.core.rows import Order, RowsVectorEnv, masked
from hrm_rl.envs.core.transition import Checker, EpisodeSettings, Judgement, Step, reward, select
from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.bank.replay import bank_features
from hrm_rl.halting.vector import FEATURE_HIGH, FEATURE_LOW, feature_vector
from hrm_rl.hashing import below, stream
from hrm_rl.tensors import as_halt, as_tensor


class HaltingState(NamedTuple):
    """The state of every row, all [B]."""

    puzzle_key: Tensor  # int64: the key the puzzle was drawn by
    bank_row: Tensor  # int64: the puzzle, as a row of the bank
    segment: Tensor  # int64: segments run, >= 1
    episode_return: Tensor  # float32
    ended: Tensor  # bool: judged and not yet reset (never under same-step)


class HaltingVectorEnv(RowsVectorEnv):
    """`num_envs` recorded puzzles side by side; an action continues (0) or halts (1).

    Observation: `feature_vector` of the last segment, float32 [B, F], |x| <= 10; `reset` runs the first
    segment. Reward of every action: -segment_cost for the segment it responds to, plus 1 if the episode
    ends and the draft is right. So the return is right - segment_cost * segments, with one action a
    segment, and rewards equal those of `PuzzleVectorEnv` step by step. At segment `halt_max_steps` either
    action submits the draft. The environment itself never truncates.

    Seeds, orders, autoreset and infos are those of `PuzzleVectorEnv`: of the draft that the action applied
    to, with `bank_row` instead of `labels`. In order "epoch" drafts past the end of the bank are wrong.

    Args:
        num_envs: rows, B.
        bank: all its rows are played.
        segment_cost: subtracted at every segment.
        halt_max_steps: segments after which the draft is submitted; by default all recorded segments.
        checker: the judgement that pays: the stored solution ("exact") or any right answer ("valid").
        pooled: append the bank's pooled z_H to the observation.
        autoreset_mode: as in `PuzzleVectorEnv`.
        order: as in `PuzzleVectorEnv`.
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
        super().__init__(num_envs, autoreset_mode, order, device)
        limit = bank.num_segments if halt_max_steps is None else halt_max_steps
        self.settings = EpisodeSettings(limit, segment_cost, checker)
        if limit > bank.num_segments:
            raise ValueError(
                f"halt_max_steps={limit}, but the bank has {bank.num_segments} segments a puzzle"
            )
        self.bank = bank
        self.pooled = pooled
        self._table = _feature_table(bank, pooled).to(self.device)  # [N * M, F]
        self._outcomes = {name: t.to(self.device) for name, t in _outcomes(bank).items()}
        rating = torch.as_tensor(bank.rating, dtype=torch.float32, device=self.device)
        self._rating = torch.where(rating.isnan(), -1.0, rating)  # as in PuzzleVectorEnv
        self._set_spaces(halting_observation_space(self._table.shape[1]), spaces.Discrete(2))

    def step(self, actions: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Continue (0) or halt (1): [B] integers or booleans, tensor or NumPy."""
        if self.state is None:
            raise RuntimeError("call reset() before step()")
        halt = read_halt(actions, self.num_envs, self.device)
        state, running = self.state, ~self.state.ended
        ends = running & (halt | (state.segment >= self.settings.halt_max_steps))
        taking = self._taking(ends)
        judgement = self._judge(state, forced=ends & ~halt)
        paid = getattr(judgement, self.settings.pays)
        gained = reward(paid, ends, running, self.settings.segment_cost)
        final = state._replace(episode_return=state.episode_return + gained, ended=state.ended | ends)
        self.state = final._replace(segment=state.segment + ~final.ended)
        if taking is not None:
            self.state = select(taking, self._fresh(taking), self.state)
        terminated = final.ended if taking is None else ends
        return self._outcome(Step(gained, terminated, ends, judgement, final), taking)

    # --- states and judgements --------------------------------------------------------------------

    def _fresh(self, taking: Tensor) -> HaltingState:
        keys = self._keys.draw(taking)
        count = self.bank.num_puzzles
        if self._keys.order == "hash":
            row = below(stream(keys, 0), count)  # as a PoolSource picks from its pool
        else:
            row = keys.clamp(0, count - 1)
        segment = torch.ones_like(keys)
        return HaltingState(keys, row, segment, torch.zeros_like(self._began), ~self._all)

    def _at(self, state: HaltingState) -> Tensor:
        """Every row's segment, as a row of the tables."""
        return state.bank_row * self.bank.num_segments + (state.segment - 1)

    def _observe(self, state: HaltingState) -> Tensor:
        return self._table.index_select(0, self._at(state))

    def _judge(self, state: HaltingState, forced: Tensor) -> Judgement:
        """The judgement of every row's draft; past the end nothing is right."""
        at = self._at(state)
        drafts = {name: table.index_select(0, at) for name, table in self._outcomes.items()}
        if self._keys.order == "epoch":
            real = state.puzzle_key < self.bank.num_puzzles
            drafts = {name: column * real for name, column in drafts.items()}
        return Judgement(**drafts, segments=state.segment, forced=forced)

    def _puzzle_info(self, state: HaltingState, mask: Tensor) -> dict[str, Any]:
        rating = self._rating.index_select(0, state.bank_row)
        puzzle = {"puzzle_key": state.puzzle_key, "bank_row": state.bank_row, "rating": rating}
        return masked(puzzle, mask)


def halting_observation_space(size: int) -> spaces.Box:
    """The space of a feature vector of this size."""
    return spaces.Box(FEATURE_LOW, FEATURE_HIGH, (size,), np.float32)


def read_halt(actions: Any, rows: int, device: torch.device) -> Tensor:
    """Actions as bool [B] on the device. Raises ValueError for another shape, or numbers but 0 and 1."""
    halt = as_tensor("actions", actions)
    if halt.shape != (rows,):
        raise ValueError(f"actions have shape {tuple(halt.shape)}; expected ({rows},): 0 continues, 1 halts")
    return as_halt("actions", halt, device)


def _feature_table(bank: TraceBank, pooled: bool) -> Tensor:
    """The observation after every segment of every puzzle, float32 [N * M, F]."""
    needs = frozenset({"pooled_z_H"} if pooled else ())
    return feature_vector(bank_features(bank, needs), pooled=pooled).contiguous()


def _outcomes(bank: TraceBank) -> dict[str, Tensor]:
    """The judgement of each draft, by the fields of `Judgement`, [N * M] each, row-major."""
    segment = np.arange(1, bank.num_segments + 1)
    first = bank.first_correct[:, None]
    columns = {
        "correct": bank.correct,
        "valid": bank.valid,
        "cell_accuracy": bank.cell_accuracy,
        "first_correct_segment": np.where(first <= segment, first, 0),
    }
    return {name: torch.tensor(column).flatten() for name, column in columns.items()}
