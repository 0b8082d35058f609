"""`HRM/Halting-v0`: when to stop thinking, as an environment of its own.

A model thinks about a puzzle segment by segment; the agent sees what a segment showed (`q_halt`,
confidence, change, ...: `hrm_rl.halting.vector.FEATURE_NAMES`) and thinks on (0) or halts (1). An
episode returns 1 if the draft it halts with is right, minus `segment_cost` for every segment.

Thinking never changes with stopping, so the model may be a recording: a trace bank, from a file
or by default a small made-up one whose best return is known (`hrm_rl.halting.bank.toy`). Or it thinks
live: an agent on the puzzles of a source.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from gymnasium.vector import AutoresetMode

from hrm_rl.envs.core.source import Source
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.halting.bank import HaltingVectorEnv
from hrm_rl.envs.halting.live import LiveHaltingVectorEnv, Thinker
from hrm_rl.envs.halting.single import HaltingEnv
from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.bank.toy import toy_bank

Bank = TraceBank | str | os.PathLike[str]


def make_env(
    bank: Bank | None = None,
    *,
    split: str | None = "validation",
    agent: Thinker | None = None,
    source: Source | None = None,
    segment_cost: float = 0.01,
    **options: Any,
) -> HaltingEnv:
    """One halting environment; arguments as in `make_vector_env`, without rows and autoreset."""
    mode = AutoresetMode.DISABLED
    core = make_vector_env(
        1,
        bank,
        split=split,
        agent=agent,
        source=source,
        segment_cost=segment_cost,
        autoreset_mode=mode,
        **options,
    )
    return HaltingEnv(core)


def make_vector_env(
    num_envs: int = 1,
    bank: Bank | None = None,
    *,
    split: str | None = "validation",
    agent: Thinker | None = None,
    source: Source | None = None,
    segment_cost: float = 0.01,
    **options: Any,
) -> HaltingVectorEnv | LiveHaltingVectorEnv:
    """`num_envs` halting environments, tensors out, tensors or NumPy in.

    Args:
        num_envs: rows.
        bank: a trace bank or its file; the toy bank by default.
        split: which puzzles of the bank to play; None plays all. The default keeps the test puzzles
            for judging what was learned.
        agent: thinks live instead of a bank: an `HRMAgent`, whose own rule is not asked.
        source: the puzzles that `agent` thinks about.
        segment_cost: subtracted at every segment.
        options: those of HaltingVectorEnv, or with an agent those of PuzzleVectorEnv:
            halt_max_steps, checker, autoreset_mode, order, device; and pooled, of a bank.

    Raises:
        ValueError: the file is no bank, it has no such split, or bank and agent are both given.
        FileNotFoundError: there is no such file.
    """
    if agent is None and source is None:
        played = _open(bank)
        if split is not None:
            played = played.in_split(split)
        return HaltingVectorEnv(num_envs, played, segment_cost=segment_cost, **options)
    if agent is None or source is None or bank is not None:
        raise ValueError(
            "give a bank, or an agent and a source of puzzles for it, not some of both"
        )
    envs = PuzzleVectorEnv(num_envs, source, segment_cost=segment_cost, **options)
    return LiveHaltingVectorEnv(envs, agent)


_default_bank: Callable[[], TraceBank] = lru_cache(maxsize=1)(toy_bank)


def _open(bank: Bank | None) -> TraceBank:
    if bank is None:
        return _default_bank()
    return bank if isinstance(bank, TraceBank) else TraceBank.load(bank)


__all__ = ["HaltingEnv", "HaltingVectorEnv", "LiveHaltingVectorEnv", "make_env", "make_vector_env"]
