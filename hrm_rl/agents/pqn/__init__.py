"""PQN: Q-learning on a vector of environments, without replay and without a target network.

Parallelised Q-network (Gallici and others, arXiv 2407.04811, algorithm 1 with lambda returns): step all
environments `rollout` times, each exploring epsilon-greedily for itself; compute lambda returns with the
same network; take a few epochs of minibatch steps towards them; discard the steps. LayerNorm in the network
(`hrm_rl.halting.fit.network.QNetwork`) and many environments replace the target network and the replay
buffer.

    envs = gym.make_vec("HRM/Halting-v0", num_envs=128)
    network = train(envs, PQNConfig(total_steps=400_000), seed=0)
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor, nn

from hrm_rl.envs.to_torch import map_tensors
from hrm_rl.halting.fit.network import QNetwork
from hrm_rl.settings import check_integers, check_interval

__all__ = ["PQNConfig", "QLearningConfig", "Rollout", "explore", "lambda_returns", "train"]

T = TypeVar("T")


@dataclass(frozen=True)
class QLearningConfig:
    """Settings of the algorithm for any network; the defaults suit short episodes with few features. Raises
    ValueError, naming the field, for a value out of range."""

    total_steps: int = 400_000
    """Steps of the environments, counted over all rows."""
    rollout: int = 8
    """Steps of every environment between updates."""
    epochs: int = 2
    """Passes over the steps of a rollout."""
    minibatches: int = 2
    """Optimizer steps for each epoch."""
    lr: float = 2e-3
    """Learning rate of RAdam; falls linearly to 0."""
    gamma: float = 1.0
    """Discount."""
    q_lambda: float = 0.65
    """Lambda of Q(lambda): 0 = one-step targets, 1 = returns to the end of the rollout."""
    epsilon_start: float = 1.0
    """Probability of a random action at the start."""
    epsilon_end: float = 0.05
    """Probability of a random action after the fall."""
    epsilon_fraction: float = 0.5
    """Share of the training over which epsilon falls, linearly."""
    max_grad_norm: float = 10.0
    """Longer gradients are scaled to this norm."""

    def __post_init__(self) -> None:
        check_integers(self, 1, "total_steps", "rollout", "epochs", "minibatches")
        check_interval(self, "(0, inf)", "lr", "max_grad_norm")
        check_interval(self, "[0, 1]", "gamma", "q_lambda")
        check_interval(self, "[0, 1]", "epsilon_start", "epsilon_end", "epsilon_fraction")

    def epsilon(self, progress: float) -> float:
        """The probability of a random action at `progress`, 0..1 of the training."""
        share = 1.0 if not self.epsilon_fraction else min(1.0, progress / self.epsilon_fraction)
        return self.epsilon_start + share * (self.epsilon_end - self.epsilon_start)

    def updates(self, num_envs: int) -> Iterator[tuple[int, float, float]]:
        """Yield of each update the environments' steps up to its end, its learning rate and epsilon."""
        steps = self.rollout * num_envs
        count = max(1, self.total_steps // steps)
        for done in range(count):
            progress = done / count
            yield (done + 1) * steps, self.lr * (1 - progress), self.epsilon(progress)


@dataclass(frozen=True)
class PQNConfig(QLearningConfig):
    """Settings of PQN with a plain network."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers."""


class Rollout(NamedTuple):
    """T steps of B environments."""

    obs: Any  # [T, B, F], or nested tensors [T, B, ...]
    action: Tensor  # [T, B] int64
    reward: Tensor  # [T, B] float32
    over: Tensor  # [T, B] bool: the step terminated the episode
    next_value: Tensor  # [T, B]: max Q of the next observation; of the final one if truncated
    cut: Tensor  # [T, B] bool: truncated; the next row belongs to another episode


Report = Callable[[int, Any, dict[str, Tensor]], None]
"""`report(steps so far, network, metrics)`, after each update; metrics are scalars on the device: loss,
reward, value and, with an HRM, the figures of `ThinkingLog` and means over the episodes that ended (NaN if
none did): episode_return, without the price of segments, and episode_steps."""


def train(
    envs: VectorEnv, config: PQNConfig | None = None, *, seed: int = 0, report: Report | None = None
) -> QNetwork:
    """Learn the values of a vector environment's actions; equal seeds give equal networks.

    The environments return tensors and have Discrete actions, observations in a Box of one axis, and
    SAME_STEP autoreset; ValueError is raised for others, FloatingPointError if the weights become NaN or
    infinite. `report` is called after each update.
    """
    config = config or PQNConfig()
    features, actions = _sizes(envs)
    device = torch.device(getattr(envs, "device", "cpu"))
    network = seeded(seed, lambda: QNetwork(features, actions, config.hidden)).to(device)
    optimizer = torch.optim.RAdam(network.parameters(), lr=config.lr)
    generator = torch.Generator(device).manual_seed(seed)
    obs, _ = envs.reset(seed=seed)
    for steps, lr, epsilon in config.updates(envs.num_envs):
        optimizer.param_groups[0]["lr"] = lr
        rollout, obs = _play(envs, network, obs, config.rollout, epsilon, generator)
        target = lambda_returns(rollout, config.gamma, config.q_lambda)
        batch = map_tensors(lambda t: t.flatten(0, 1), (rollout.obs, rollout.action, target))
        loss = fit(network, _squared_error, batch, optimizer, config, generator)
        if report is not None:
            metrics = {"loss": loss, "reward": rollout.reward.mean(), "value": target.mean()}
            report(steps, network, metrics)
    refuse_broken(network, config)
    return network


def refuse_broken(network: torch.nn.Module, config: QLearningConfig) -> None:
    """Raise FloatingPointError if training left weights that are NaN or infinite."""
    if not torch.stack([p.isfinite().all() for p in network.parameters()]).all():
        raise FloatingPointError(f"training diverged: weights are NaN or infinite; lower lr, {config.lr:g}")


def seeded(seed: int, make: Callable[[], T]) -> T:
    """The result of `make` under a seed of torch, whose global generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def explore(values: Tensor, epsilon: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose epsilon-greedy actions, each row for itself, from values [B, A].

    Returns the actions [B] and a mask, bool [B], of those drawn at random.
    """
    rows, actions = values.shape
    draws = torch.rand(rows, 2, generator=generator, device=values.device)
    anything = (draws[:, 1] * actions).long().clamp_max(actions - 1)
    drawn = draws[:, 0] < epsilon
    return torch.where(drawn, anything, values.argmax(-1)), drawn


def lambda_returns(
    rollout: Rollout,
    gamma: float,
    q_lambda: float,
    cost: Tensor | None = None,
    discount: Tensor | None = None,
) -> Tensor:
    """Compute Q(lambda) targets [T, B] (arXiv 2407.04811, section 4.3).

    G_t = r_t + gamma * (q_lambda * G_{t+1} + (1 - q_lambda) * max Q(s_{t+1})) while the episode goes on;
    r_t if it is over; and r_t + gamma * max Q(s_{t+1}) if it was truncated or the rollout ends.

    An agent that thinks at observation t before it acts pays `cost` [T, B] and discounts by `discount`
    [T, B] what follows: discount_{t+1} G_{t+1} - cost_{t+1} then takes the place of G_{t+1}.
    """
    target = torch.empty_like(rollout.reward)
    following = rollout.next_value[-1]
    for t in range(len(target) - 1, -1, -1):
        value = rollout.next_value[t]
        mixed = q_lambda * following + (1 - q_lambda) * value
        beyond = torch.where(rollout.cut[t], value, mixed)
        following = rollout.reward[t] + gamma * torch.where(rollout.over[t], 0.0, beyond)
        target[t] = following
        if discount is not None:
            following = discount[t] * following
        if cost is not None:
            following = following - cost[t]
    return target


def next_value(value: Tensor, cut: Tensor, info: dict[str, Any], value_of: Callable[[Any], Tensor]) -> Tensor:
    """`value` [B] of the observations returned; in rows that were cut, that of the final observation.

    Raises ValueError if an episode was cut and `info` has no `final_obs`.
    """
    if cut.device.type == "cpu" and not cut.any():  # elsewhere this would wait for the device
        return value
    if "final_obs" not in info:
        raise ValueError("the environments truncate episodes, but give no info['final_obs']")
    return torch.where(cut, value_of(info["final_obs"]), value)


def fit(
    network: nn.Module,
    loss_of: Callable[[Any, Any], Tensor],
    batch: Any,
    optimizer: torch.optim.Optimizer,
    config: QLearningConfig,
    generator: torch.Generator,
) -> Tensor:
    """Take the config's epochs of minibatch steps on `loss_of(network, minibatch)`; return the mean loss.

    `batch` is nested tensors whose first axis counts steps; `generator` draws their order.
    """
    leaves: list[Tensor] = []
    map_tensors(leaves.append, batch)
    count, device = len(leaves[0]), leaves[0].device
    losses = []
    for _ in range(config.epochs):
        order = torch.randperm(count, generator=generator, device=device)
        for rows in order.chunk(config.minibatches):
            loss = loss_of(network, map_tensors(lambda t, rows=rows: t[rows], batch))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
            optimizer.step()
            losses.append(loss.detach())
    return torch.stack(losses).mean()


def stack(steps: list[T]) -> T:
    """Nested tensors of T steps, [B, ...], as one of [T, B, ...]."""
    return map_tensors(lambda *tensors: torch.stack(tensors), *steps)


def count_actions(envs: VectorEnv) -> int:
    """The number of actions. Raises ValueError unless they are Discrete from 0, with SAME_STEP autoreset."""
    if not hasattr(envs, "single_action_space"):
        raise ValueError(
            f"PQN needs a vector environment of tensors, got {type(envs).__name__}; "
            "ToTorch(gym.vector.SyncVectorEnv([...], autoreset_mode=AutoresetMode.SAME_STEP)) makes one"
        )
    actions, mode = envs.single_action_space, envs.metadata.get("autoreset_mode")
    if not isinstance(actions, spaces.Discrete) or actions.start != 0:
        raise ValueError(f"PQN needs Discrete actions from 0, got {actions}")
    if mode != AutoresetMode.SAME_STEP:
        raise ValueError(
            f"PQN needs environments of autoreset_mode SAME_STEP, got {mode}; a vector environment takes "
            'autoreset_mode=AutoresetMode.SAME_STEP, gym.make_vec vector_kwargs={"autoreset_mode": ...}'
        )
    return int(actions.n)


@torch.no_grad()
def _play(
    envs: VectorEnv, network: QNetwork, obs: Tensor, length: int, epsilon: float, generator: torch.Generator
) -> tuple[Rollout, Tensor]:
    """Step every environment `length` times from `obs`; return the steps and the last observation."""
    steps, values = [], network(obs)
    for _ in range(length):
        action, _ = explore(values, epsilon, generator)
        seen = obs.clone()
        obs, reward, terminated, truncated, info = envs.step(action)
        cut, values = truncated & ~terminated, network(obs)
        following = next_value(values.amax(-1), cut, info, lambda final: network(final).amax(-1))
        steps.append(Rollout(seen, action, reward.float(), terminated, following, cut))
    return stack(steps), obs


def _squared_error(network: QNetwork, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    obs, action, target = batch
    value = network(obs).gather(1, action[:, None])[:, 0]
    return 0.5 * F.mse_loss(value, target)


def _sizes(envs: VectorEnv) -> tuple[int, int]:
    """The numbers of features and actions. Raises ValueError for other kinds of environments."""
    space = envs.single_observation_space
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise ValueError(f"PQN needs observations in a Box of one axis, got {space}")
    return int(space.shape[0]), count_actions(envs)
