"""PQN: Q-learning on a vector of environments, without replay and without a target network.

Parallelised Q-network (Gallici and others, arXiv 2407.04811, algorithm 1 with lambda returns): play
`rollout` steps in all environments, epsilon-greedily, each environment drawing for itself; compute
lambda returns with the same network; take a few epochs of minibatch steps towards them; throw the
steps away. LayerNorm in the network (`hrm_rl.halting.fit.network.QNetwork`) and many environments do what
a target network and a replay buffer do elsewhere.

    envs = gym.make_vec("HRM/Halting-v0", num_envs=128)
    network = train(envs, PQNConfig(total_steps=400_000), seed=0)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from hrm_rl.halting.fit.network import QNetwork


@dataclass(frozen=True)
class QLearningConfig:
    """Settings of the algorithm, whatever the network. The paper's own vary by benchmark; these suit
    short episodes on few features."""

    total_steps: int = 400_000
    """Steps of the environments, all rows counted."""
    rollout: int = 8
    """Steps played in every environment between updates."""
    epochs: int = 2
    """Times every step is learned from."""
    minibatches: int = 2
    """Optimizer steps an epoch."""
    lr: float = 2e-3
    """Learning rate of RAdam; falls linearly to 0."""
    gamma: float = 1.0
    """Discount."""
    trace: float = 0.65
    """Lambda: 0 = one-step targets, 1 = returns to the end of the rollout."""
    epsilon_start: float = 1.0
    epsilon_end: float = 0.05
    epsilon_fraction: float = 0.5
    """Share of the training over which epsilon falls, linearly."""
    max_grad_norm: float = 10.0
    """Gradients longer than this are cut to it."""

    def __post_init__(self) -> None:
        for name in ("total_steps", "rollout", "epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name in ("lr", "max_grad_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be a number > 0, got {getattr(self, name)}")
        for name in ("gamma", "trace", "epsilon_start", "epsilon_end", "epsilon_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in 0..1, got {getattr(self, name)}")

    def epsilon(self, progress: float) -> float:
        """The share of random actions at `progress`, 0..1 of the training."""
        share = 1.0 if not self.epsilon_fraction else min(1.0, progress / self.epsilon_fraction)
        return self.epsilon_start + share * (self.epsilon_end - self.epsilon_start)


@dataclass(frozen=True)
class PQNConfig(QLearningConfig):
    """Settings of PQN with a plain network."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the network's layers."""


class Rollout(NamedTuple):
    """T steps of B environments."""

    obs: Any  # [T, B, F], or nested tensors [T, B, ...]
    action: Tensor  # [T, B] int64
    reward: Tensor  # [T, B] float32
    over: Tensor  # [T, B] bool: the episode ended with this step, for good
    next_value: Tensor  # [T, B]: max Q of what followed; of the last obs where it was cut short
    cut: Tensor  # [T, B] bool: truncated; the next row belongs to another episode


Report = Callable[[int, QNetwork, dict[str, Tensor]], None]
"""`report(steps so far, network, metrics)`, after each update; metrics are tensors on the device."""


def train(
    envs: VectorEnv, config: PQNConfig | None = None, *, seed: int = 0, report: Report | None = None
) -> QNetwork:
    """Learn the values of a vector environment's actions; the same seed, the same network.

    Args:
        envs: returns tensors; Discrete actions, a Box of one axis observed, SAME_STEP autoreset.
        config: settings.
        seed: of the network, the exploration, the minibatches and the environments.
        report: called after each update.

    Raises ValueError for environments of another kind.
    """
    config = config or PQNConfig()
    features, actions = _sizes(envs)
    device = torch.device(getattr(envs, "device", "cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = QNetwork(features, actions, config.hidden).to(device)
    optimizer = torch.optim.RAdam(network.parameters(), lr=config.lr)
    generator = torch.Generator(device).manual_seed(seed)
    obs, _ = envs.reset(seed=seed)
    steps_an_update = config.rollout * envs.num_envs
    updates = max(1, config.total_steps // steps_an_update)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = config.lr * (1 - update / updates)
        epsilon = config.epsilon(update / updates)
        rollout, obs = _play(envs, network, obs, config.rollout, epsilon, generator)
        target = lambda_returns(rollout, config.gamma, config.trace)
        loss = _learn(network, optimizer, rollout, target, config, generator)
        if report is not None:
            metrics = {"loss": loss, "reward": rollout.reward.mean(), "value": target.mean()}
            report((update + 1) * steps_an_update, network, metrics)
    return network


def explore(values: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """Epsilon-greedy, each row for itself: values [B, A] -> actions [B]."""
    return explore_and_tell(values, epsilon, generator)[0]


def explore_and_tell(
    values: Tensor, epsilon: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """As `explore`, with the rows, bool [B], whose action was drawn at random."""
    rows, actions = values.shape
    draws = torch.rand(rows, 2, generator=generator, device=values.device)
    anything = (draws[:, 1] * actions).long().clamp_max(actions - 1)
    drawn = draws[:, 0] < epsilon
    return torch.where(drawn, anything, values.argmax(-1)), drawn


def lambda_returns(
    rollout: Rollout,
    gamma: float,
    trace: float,
    toll: Tensor | None = None,
    shrink: Tensor | None = None,
) -> Tensor:
    """Q(lambda) targets [T, B] (arXiv 2407.04811, section 4.3).

    G_t = r_t + gamma * (trace * G_{t+1} + (1 - trace) * max Q(s_{t+1})), where the episode goes on;
    r_t where it is over; and r_t + gamma * max Q(s_{t+1}) where it was cut or the rollout stops.

    Whoever thinks before it acts arrives at observation t, pays `toll` [T, B] and discounts by
    `shrink` [T, B] what comes after: shrink_{t+1} G_{t+1} - toll_{t+1} then stands for G_{t+1}.
    """
    target = torch.empty_like(rollout.reward)
    following = rollout.next_value[-1]
    for t in range(len(target) - 1, -1, -1):
        value = rollout.next_value[t]
        mixed = trace * following + (1 - trace) * value
        beyond = torch.where(rollout.cut[t], value, mixed)
        following = rollout.reward[t] + gamma * torch.where(rollout.over[t], 0.0, beyond)
        target[t] = following
        if shrink is not None:
            following = shrink[t] * following
        if toll is not None:
            following = following - toll[t]
    return target


@torch.no_grad()
def _play(
    envs: VectorEnv,
    network: QNetwork,
    obs: Tensor,
    length: int,
    epsilon: float,
    generator: torch.Generator,
) -> tuple[Rollout, Tensor]:
    """`length` steps of every environment from `obs`, and the observation after them."""
    steps, values = [], network(obs)
    for _ in range(length):
        action = explore(values, epsilon, generator)
        seen = obs
        obs, reward, terminated, truncated, info = envs.step(action)
        cut = truncated & ~terminated
        values = network(obs)
        next_value = values.amax(-1)
        if "final_obs" in info:  # where an episode was cut, obs is of the next one already
            last = network(info["final_obs"]).amax(-1)
            next_value = torch.where(cut, last, next_value)
        steps.append(Rollout(seen.clone(), action, reward.float(), terminated, next_value, cut))
    return Rollout(*(torch.stack(column) for column in zip(*steps, strict=True))), obs


def _learn(
    network: QNetwork,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    target: Tensor,
    config: PQNConfig,
    generator: torch.Generator,
) -> Tensor:
    """A few epochs of minibatch steps towards the targets; the mean loss."""
    obs, action, target = rollout.obs.flatten(0, 1), rollout.action.flatten(), target.flatten()
    losses = []
    for _ in range(config.epochs):
        order = torch.randperm(len(action), generator=generator, device=action.device)
        for rows in order.chunk(config.minibatches):
            value = network(obs[rows]).gather(1, action[rows, None])[:, 0]
            loss = 0.5 * F.mse_loss(value, target[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
            optimizer.step()
            losses.append(loss.detach())
    return torch.stack(losses).mean()


def count_actions(envs: VectorEnv) -> int:
    """How many actions these environments have.

    Raises ValueError where they are not Discrete from 0, or the autoreset mode is not SAME_STEP.
    """
    acted, mode = envs.single_action_space, envs.metadata.get("autoreset_mode")
    if not isinstance(acted, spaces.Discrete) or acted.start != 0:
        raise ValueError(f"PQN wants Discrete actions from 0, got {acted}")
    if mode != AutoresetMode.SAME_STEP:
        raise ValueError(f"PQN wants environments of autoreset_mode SAME_STEP, got {mode}")
    return int(acted.n)


def _sizes(envs: VectorEnv) -> tuple[int, int]:
    """Features observed and actions. Raises ValueError for other kinds of environments."""
    observed = envs.single_observation_space
    if not isinstance(observed, spaces.Box) or len(observed.shape) != 1:
        raise ValueError(f"PQN wants a Box of one axis observed, got {observed}")
    return int(observed.shape[0]), count_actions(envs)
