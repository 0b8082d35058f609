"""Halting: decide when a model stops reasoning, as an environment.

A model reasons about a puzzle segment by segment, and the agent sees what each segment showed. Halting does
not change the model's states, so the model may be a recording: a trace bank, by default a small synthetic one
whose best return is known (`hrm_rl.halting.bank.toy`). Or the model runs live: an agent on the puzzles of a
source.

Observation: the features of the last segment (`hrm_rl.halting.vector.FEATURE_NAMES`: q_halt, confidence,
change, ...), float32 [F]; `reset` runs the first segment.
Action: continue (0) or halt (1).
Reward: `segment_cost` is subtracted for every segment; a right draft at the end pays 1. So the return is
right - segment_cost * segments.
End: the agent halts, or the last segment is reached, where either action submits the draft.
"""

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from hrm_rl.envs.core.single import RowEnv
from hrm_rl.envs.core.source import Source
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.halting.bank import HaltingVectorEnv
from hrm_rl.envs.halting.live import LiveHaltingVectorEnv, Thinker
from hrm_rl.envs.options import split_options, unknown_option
from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.bank.toy import toy_bank
from hrm_rl.messages import as_path
from hrm_rl.tensors import read_discrete

__all__ = ["HaltingEnv", "HaltingVectorEnv", "LiveHaltingVectorEnv", "make_env", "make_vector_env"]

_SPLIT = "validation"
Bank = TraceBank | str | os.PathLike[str]


class HaltingEnv(RowEnv):
    """Continue (0) or halt (1), segment by segment, on one puzzle at a time.

    It is one row of `HaltingVectorEnv` (or `LiveHaltingVectorEnv`), which documents spaces, reward and info:
    without the batch dimension and the entries of automatic resets. Seeded with `seed + i`, it equals row i
    of a vector environment seeded with `seed`.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium's form)

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        return super().step(read_discrete(self.action_space, action))


def make_env(bank: Bank | None = None, **options: Any) -> HaltingEnv:
    """One halting environment; options as in `make_vector_env`, without rows and autoreset."""
    if "autoreset_mode" in options:
        raise unknown_option("autoreset_mode", [])
    return HaltingEnv(make_vector_env(1, bank, autoreset_mode=AutoresetMode.DISABLED, **options))


def make_vector_env(
    num_envs: int = 1,
    bank: Bank | None = None,
    *,
    split: str | None = _SPLIT,
    agent: Thinker | None = None,
    source: Source | None = None,
    segment_cost: float = 0.01,
    device: torch.device | str = "cpu",
    **options: Any,
) -> HaltingVectorEnv | LiveHaltingVectorEnv:
    """`num_envs` halting environments, tensors out, tensors or NumPy in.

    Args:
        num_envs: rows.
        bank: a trace bank or its file; the toy bank by default.
        split: the puzzles of the bank to play; None plays all. The default keeps the test puzzles for
            evaluation.
        agent: runs live instead of a bank: an `HRMAgent`, whose halting rule is ignored.
        source: the puzzles for `agent`.
        segment_cost: subtracted at every segment.
        device: of the bank or the puzzles.
        options: those of HaltingVectorEnv, or with an agent those of PuzzleVectorEnv: halt_max_steps,
            checker, autoreset_mode, order; and pooled, of a bank.

    Raises:
        ValueError: the file is not a bank, it has no such split, both bank and agent are given, or an option
            is unknown.
        FileNotFoundError: the file does not exist.
    """
    kind = HaltingVectorEnv if agent is None and source is None else PuzzleVectorEnv
    _, chosen = split_options(options, make_vector_env, kind)
    chosen |= {"segment_cost": segment_cost, "device": device}
    if agent is None and source is None:
        played = _open(bank)
        if split is not None:
            played = played.in_split(split)
        return HaltingVectorEnv(num_envs, played, **chosen)
    if agent is None or source is None or bank is not None:
        raise ValueError("give either a bank, or an agent and a source of puzzles for it")
    if split != _SPLIT:
        raise ValueError(f"split {split!r} is of a bank; an agent plays the puzzles of its source")
    return LiveHaltingVectorEnv(PuzzleVectorEnv(num_envs, source, **chosen), agent)


_default_bank: Callable[[], TraceBank] = cache(toy_bank)


def _open(bank: Bank | None) -> TraceBank:
    if bank is None:
        return _default_bank()
    return bank if isinstance(bank, TraceBank) else TraceBank.load(as_path("bank", bank))
