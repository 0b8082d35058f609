"""The tasks of the study: the training and evaluation of each arm."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import hrm_rl  # noqa: F401  (registers the environments)
from hrm_rl.agents import HRMPQNConfig, HRMQNetwork, ThinkingConfig, train_hrm
from hrm_rl.agents.pqn.hrm_pqn import evaluate
from hrm_rl.agents.sb3 import HRMRecurrentPolicy
from hrm_rl.envs import ToTorch
from hrm_rl.envs.one_way_maze import OneWayMaze
from hrm_rl.model import CoreConfig

CUE_RECALL: dict[str, Any] = {"cues": 4, "delay": 4}
HIDDEN = 32
SEGMENT_COST = 0.02  # of the maze, for each segment after the first; a right door pays 1
EPISODES = 512  # of the evaluation, with seeds unseen in training
POINTS = 12  # of a learning curve

Result = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One environment and its arms."""

    title: str
    measure: str
    """The quantity of the learning curve."""
    best: float
    """Score of a perfect agent."""
    chance: float
    """Score of random actions."""
    steps: int
    """Training steps of the environments, for every arm."""
    arms: dict[str, Callable[[int, int], Result]]
    """Name -> `train(seed, steps)`."""


# --- cue recall: RecurrentPPO of sb3-contrib --------------------------------------------------------


def _cue_recall(policy: str, lr: float, **settings: Any) -> Callable[[int, int], Result]:
    """Make an arm of cue recall; learning rates were chosen on seeds 100 and 101 (docs/recurrent.md)."""

    def train(seed: int, steps: int) -> Result:
        heads = {"pi": [], "vf": [64]}
        envs = make_vec_env("HRM/CueRecall-v0", 64, seed, env_kwargs=CUE_RECALL)
        common: dict[str, Any] = {
            "n_steps": 12,
            "batch_size": 384,
            "n_epochs": 8,
            "learning_rate": lambda left: lr * left,
            "ent_coef": 0.01,
            "seed": seed,
            "device": "cpu",
        }

        def hrm() -> RecurrentPPO:
            kwargs = {"net_arch": heads, "hidden_size": HIDDEN, **settings}
            return RecurrentPPO(HRMRecurrentPolicy, envs, policy_kwargs=kwargs, **common)

        def lstm(width: int) -> RecurrentPPO:
            kwargs = {"net_arch": heads, "lstm_hidden_size": width, "shared_lstm": True}
            kwargs["enable_critic_lstm"] = False
            return RecurrentPPO("MlpLstmPolicy", envs, policy_kwargs=kwargs, **common)

        def mlp(width: int) -> PPO:
            return PPO("MlpPolicy", envs, policy_kwargs={"net_arch": [width, width]}, **common)

        if policy == "hrm":
            model: Any = hrm()
        else:
            model = equally_large({"lstm": lstm, "mlp": mlp}[policy], parameters(hrm().policy))
        start, curve = time.process_time(), Curve(steps, each="episode")
        model.learn(steps, callback=curve)
        seconds = time.process_time() - start
        test = make_vec_env("HRM/CueRecall-v0", 64, 10_000 + seed, env_kwargs=CUE_RECALL)
        score, _ = evaluate_policy(model, test, EPISODES)
        return {
            "score": float(score),
            "parameters": parameters(model.policy),
            "segments": settings.get("segments", 1) if policy == "hrm" else 0,
            "cpu_seconds": seconds,
            "curve": curve.points,
        }

    return train


# --- the maze: PQN for HRM, SB3's PPO for its MLP --------------------------------------------------


def _maze_config(steps: int, halting: str, carry: Any) -> HRMPQNConfig:
    """The settings of docs/pqn.md, with up to four segments."""
    return HRMPQNConfig(
        total_steps=steps,
        rollout=4,
        epochs=1,
        lr=3e-3,
        q_lambda=0.0,
        epsilon_start=0.5,
        epsilon_fraction=0.3,
        gamma=0.0,  # every door is rewarded at once
        core=CoreConfig(hidden_size=HIDDEN, num_heads=2, L_cycles=1),
        thinking=ThinkingConfig(halting, max_segments=4, segment_cost=SEGMENT_COST, carry=carry),
    )


def _vector(rows: int) -> ToTorch:
    return ToTorch(SyncVectorEnv([OneWayMaze] * rows, autoreset_mode=AutoresetMode.SAME_STEP))


_MAZE_SEED = 10  # settings were chosen on seeds 0 and 1


def _maze_hrm(halting: str, carry: str = "reset") -> Callable[[int, int], Result]:
    def train(seed: int, steps: int) -> Result:
        curve: list[tuple[int, float]] = []
        recent: list[torch.Tensor] = []
        every = steps // 256 // POINTS

        def report(done: int, network: HRMQNetwork, metrics: dict[str, torch.Tensor]) -> None:
            recent.append(metrics["reward"])
            if done // 256 % every == 0:
                curve.append((done, float(torch.stack(recent).mean())))
                recent.clear()

        start = time.process_time()
        network = train_hrm(
            _vector(64), _maze_config(steps, halting, carry), seed=_MAZE_SEED + seed, report=report
        )
        seconds = time.process_time() - start
        played = evaluate(network, _vector(64), EPISODES, seed=10_000 + seed)
        thoughts = (played.mean_segments - 1) * played.lengths.mean()
        return {
            "score": float(played.returns.mean()),
            "paid": float(played.returns.mean() - SEGMENT_COST * thoughts),
            "segments": played.mean_segments,
            "parameters": parameters(network),
            "cpu_seconds": seconds,
            "curve": curve,
        }

    return train


def _maze_mlp(seed: int, steps: int) -> Result:
    hrm = HRMQNetwork(OneWayMaze().observation_space, 2, _maze_config(1, "fixed:1", "reset").core)
    seed += _MAZE_SEED
    envs = make_vec_env(OneWayMaze, 64, seed)

    def mlp(width: int) -> PPO:
        return PPO(
            "MlpPolicy",
            envs,
            n_steps=16,
            batch_size=256,
            gamma=0.0,
            learning_rate=lambda left: 1e-3 * left,
            policy_kwargs={"net_arch": [width, width]},
            seed=seed,
            device="cpu",
        )

    model = equally_large(mlp, parameters(hrm))
    start, curve = time.process_time(), Curve(steps, each="step")
    model.learn(steps, callback=curve)
    seconds = time.process_time() - start
    score, _ = evaluate_policy(model, make_vec_env(OneWayMaze, 64, 10_000 + seed), EPISODES)
    return {
        "score": float(score),
        "paid": float(score),
        "segments": 0,
        "parameters": parameters(model.policy),
        "cpu_seconds": seconds,
        "curve": curve.points,
    }


# --- both tasks -------------------------------------------------------------------------------------


def parameters(module: torch.nn.Module) -> int:
    """The number of parameters."""
    return sum(p.numel() for p in module.parameters())


def equally_large(make: Callable[[int], Any], wanted: int) -> Any:
    """The model whose width gives the number of parameters nearest to `wanted`."""
    low, high = 4, 1024
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameters(make(middle).policy) <= wanted else (low, middle)
    return min((make(low), make(high)), key=lambda m: abs(parameters(m.policy) - wanted))


class Curve(BaseCallback):
    """Mean reward of an episode, or of a step, at `POINTS` points of a training by SB3."""

    def __init__(self, steps: int, each: Literal["episode", "step"]) -> None:
        super().__init__()
        self.points: list[tuple[int, float]] = []
        self._every, self._each = steps // POINTS, each
        self._reward = self._count = 0.0

    def _on_step(self) -> bool:
        dones = self.locals["dones"]
        self._reward += float(self.locals["rewards"].sum())
        self._count += len(dones) if self._each == "step" else int(dones.sum())
        if self.num_timesteps // self._every > len(self.points) and self._count:
            self.points.append((self.num_timesteps, self._reward / self._count))
            self._reward = self._count = 0.0
        return True


_DEPTH = OneWayMaze().depth
_FORKS = range(1, _DEPTH + 1)  # a walk begins at one of them

TASKS = {
    "cue_recall": Task(
        "Cue recall: 4 cues, 4 blank steps",
        measure="share of cues named",
        best=1.0,
        chance=1 / CUE_RECALL["cues"],
        steps=25_000,
        arms={
            "MLP": _cue_recall("mlp", 2e-3),
            "LSTM": _cue_recall("lstm", 6e-3),
            "HRM, carry reset": _cue_recall("hrm", 2e-3, carry="reset", through_time=True),
            "HRM, carry kept, one-step gradient": _cue_recall("hrm", 5e-4, through_time=False),
            "HRM, carry kept": _cue_recall("hrm", 2e-3, through_time=True),
            "HRM, carry kept, 2 segments": _cue_recall("hrm", 2e-3, through_time=True, segments=2),
            "HRM, carry kept, 4 segments": _cue_recall("hrm", 2e-3, through_time=True, segments=4),
        },
    ),
    "one_way_maze": Task(
        f"One-way maze, passages of {_DEPTH} rooms",
        measure="share of right doors",
        best=sum(_FORKS) / _DEPTH,
        chance=sum(1 - 2.0**-forks for forks in _FORKS) / _DEPTH,
        steps=150_000,
        arms={
            "MLP": _maze_mlp,
            "HRM, 1 segment": _maze_hrm("fixed:1"),
            "HRM, 1 segment, carry kept": _maze_hrm("fixed:1", "keep"),
            "HRM, 2 segments": _maze_hrm("fixed:2"),
            "HRM, 4 segments": _maze_hrm("fixed:4"),
            "HRM, learned thinking": _maze_hrm("learned"),
        },
    ),
}
