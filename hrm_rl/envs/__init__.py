"""Gymnasium environments whose action ends one reasoning segment, and wrappers that bring thinking to any
other environment."""

if __name__ != "hrm_rl.envs":
    raise ImportError(f"import hrm_rl.envs, not {__name__}: a second copy would have other classes")

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.source import PoolSource, Puzzles, SequentialSource, Source
from hrm_rl.envs.core.transition import EnvState, Judgement, transition
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.plain import PlainObservation
from hrm_rl.envs.thinking import HaltedThinking, ThinkingWrapper
from hrm_rl.envs.to_numpy import ToNumpy
from hrm_rl.envs.to_torch import ToTorch

__all__ = [
    "EnvState",
    "HaltedThinking",
    "Judgement",
    "PlainObservation",
    "PoolSource",
    "PuzzleEnv",
    "PuzzleVectorEnv",
    "Puzzles",
    "SequentialSource",
    "Source",
    "ThinkingWrapper",
    "ToNumpy",
    "ToTorch",
    "transition",
]
