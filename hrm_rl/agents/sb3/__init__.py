"""The bridge to Stable-Baselines3: our vector environments to it, its policies to us."""

from hrm_rl.agents.sb3.rule import Sb3Rule, load_rule
from hrm_rl.agents.sb3.vec_env import TorchVecEnv

__all__ = ["Sb3Rule", "TorchVecEnv", "load_rule"]
