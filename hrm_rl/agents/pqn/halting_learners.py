"""Learn a halting rule from a trace bank, by PQN or by Stable-Baselines3."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hrm_rl.agents.pqn import PQNConfig, train
from hrm_rl.envs.halting.bank import HaltingVectorEnv
from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.fit.network import NetworkRule
from hrm_rl.halting.fit.provenance import fitting_data

__all__ = ["train_pqn", "train_sb3"]

if TYPE_CHECKING:
    from hrm_rl.agents.sb3.rule import Sb3Rule


def train_pqn(
    bank: TraceBank,
    cost: float,
    seed: int = 0,
    *,
    config: PQNConfig | None = None,
    num_envs: int = 128,
    pooled: bool = False,
) -> NetworkRule:
    """Learn a rule by PQN on HRM/Halting-v0 over a bank; equal arguments give equal rules.

    Args:
        bank: recorded segments; none of split `test`.
        cost: of a segment.
        seed: of all random draws.
        config: PQN's settings; the default takes some seconds on one core.
        num_envs: number of environments.
        pooled: observe the pooled states too; the bank must have them.

    Raises ValueError for test puzzles, a bad cost, or a column missing from the bank.
    """
    fitted_on = fitting_data(bank, cost)
    envs = HaltingVectorEnv(num_envs, bank, segment_cost=cost, pooled=pooled)
    network = train(envs, config, seed=seed)
    return NetworkRule(network, fitted_on, bank.num_segments, pooled)


def falling(lr: float) -> Callable[[float], float]:
    """A learning rate that falls linearly to 0, in SB3's form: a function of the share left."""
    return lambda left: lr * left


_REPLAYED: dict[str, Any] = {
    "learning_rate": falling(2e-3),
    "buffer_size": 150_000,
    "learning_starts": 2_000,
    "batch_size": 512,
    "train_freq": 4,
    "gradient_steps": 8,
    "target_update_interval": 400,
    "exploration_fraction": 0.5,
}
SB3: dict[str, dict[str, Any]] = {
    "dqn": _REPLAYED,
    "qrdqn": _REPLAYED | {"policy_kwargs": {"n_quantiles": 25}},
    "ppo": {"learning_rate": falling(2e-3), "n_steps": 32, "batch_size": 512, "n_epochs": 5},
    "a2c": {"learning_rate": falling(3e-3), "n_steps": 16, "use_rms_prop": False},
}
"""Settings by algorithm for episodes of a few steps; the discount is always 1."""

_STEPS = {"dqn": 150_000, "qrdqn": 150_000, "ppo": 200_000, "a2c": 300_000}
_ROWS = 64


def train_sb3(
    bank: TraceBank,
    cost: float,
    seed: int = 0,
    algo: str = "dqn",
    *,
    total_steps: int | None = None,
    pooled: bool = False,
    **settings: Any,
) -> "Sb3Rule":
    """Learn a rule by Stable-Baselines3 on HRM/Halting-v0 over a bank, in less than a minute on one core.

    Args:
        bank: as in `train_pqn`.
        cost: as in `train_pqn`.
        seed: as in `train_pqn`.
        pooled: as in `train_pqn`.
        algo: `dqn`, `ppo`, `a2c`, or `qrdqn` (from sb3-contrib).
        total_steps: steps of the environments, counted over all rows; by default set by the algorithm.
        settings: of the algorithm; they override those in `SB3`.

    Raises ValueError as `train_pqn`, and for an unknown algorithm.
    """
    from hrm_rl.agents.sb3.rule import Sb3Rule, algorithm
    from hrm_rl.agents.sb3.vec_env import TorchVecEnv

    kind = algorithm(algo)
    fitted_on = fitting_data(bank, cost)
    envs = TorchVecEnv(HaltingVectorEnv(_ROWS, bank, segment_cost=cost, pooled=pooled))
    chosen: dict[str, Any] = {"gamma": 1.0, "device": "cpu"} | SB3[algo] | settings
    policy_kwargs: dict[str, Any] = chosen.pop("policy_kwargs", {})
    # SB3 seeds the process's generators, which must not change the caller's draws.
    with kept_generators():
        model = kind("MlpPolicy", envs, seed=seed, policy_kwargs=dict(policy_kwargs), **chosen)
        model.learn(_STEPS[algo] if total_steps is None else total_steps)
    model.policy.set_training_mode(False)
    limit = bank.num_segments
    return Sb3Rule(algo, model.policy, fitted_on, limit, policy_kwargs, pooled)  # type: ignore[abstract]


@contextmanager
def kept_generators() -> Iterator[None]:
    """Restore the process's random generators (Python's, NumPy's, torch's) afterwards."""
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    random.setstate(python)
    np.random.set_state(legacy)
