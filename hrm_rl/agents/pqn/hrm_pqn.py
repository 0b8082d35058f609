"""PQN with an HRM: learn the values of actions and, from the same rewards, of thinking on.

The algorithm is that of `hrm_rl.agents.pqn` (arXiv 2407.04811), on observations of any kind. The action
values of several segments regress on the same lambda return. Halting at segment k is worth
Q_halt_k = max_a Q_k(s, a), and thinking on is learned from the next segment of the same observation,

    Q_continue_k <- -segment_cost + gamma_think * max(Q_halt_{k+1}, Q_continue_{k+1}),

or Q_halt alone at the last segment; both by mean squared errors. This is Q-learning of thinking as an action
that has a cost and leads to another latent state (as in arXiv 2506.21734, section 2, but from rewards instead
of labels).

The return of a step trains the segment that acted and those after it, or all segments if the action was
drawn at random. Earlier segments regress instead on the acting segment's value of every action: from the
return they would credit the action, not the later segments that chose it, and would halt too early.

    envs = ToTorch(gym.make_vec("CartPole-v1", 16, "sync", {"autoreset_mode": "SameStep"}))
    network = train_hrm(envs, HRMPQNConfig(total_steps=200_000), seed=0)
    print(evaluate(network, envs, episodes=100))
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from hrm_rl.agents.pqn import (
    QLearningConfig,
    Report,
    Rollout,
    count_actions,
    explore,
    fit,
    lambda_returns,
    next_value,
    refuse_broken,
    seeded,
    stack,
)
from hrm_rl.agents.pqn.q_network import HRMQNetwork, ThinkingConfig, Values
from hrm_rl.agents.thinking_log import ThinkingLog, mean_where
from hrm_rl.envs.to_torch import map_tensors
from hrm_rl.model import CoreConfig
from hrm_rl.model.recurrence import Carry

__all__ = ["Evaluation", "HRMPQNConfig", "evaluate", "train_hrm"]


@dataclass(frozen=True)
class HRMPQNConfig(QLearningConfig):
    """Settings of PQN with an HRM."""

    core: CoreConfig = field(default_factory=CoreConfig)
    """The network's architecture."""
    thinking: ThinkingConfig = field(default_factory=ThinkingConfig)
    """Halting, its costs, and the carry between steps."""
    value_scale: float = 1.0
    """About the largest possible return. The network's heads are in units of it, and the loss in its
    square: states have unit mean square, and heads need long to reach values far from 1."""


class HRMRollout(NamedTuple):
    """T steps of B environments, and the segments before each."""

    steps: Rollout
    segments: Tensor  # [T, B] int64: run before the action
    drawn: Tensor  # [T, B] bool: the action was drawn at random
    carry: Carry | None  # [T, B, tokens, D]: at the start of thinking; None if always fresh
    ended: Tensor  # [T, B] bool
    ended_return: Tensor  # [T, B]: of the episodes that ended, from the environments
    ended_length: Tensor | None = None  # [T, B]: likewise


class Lesson(NamedTuple):
    """The targets of B steps."""

    action: Tensor  # [B]: taken
    target: Tensor  # [B]: its return
    segments: Tensor  # [B]: run before it
    taught: Tensor  # [B, K] bool: the segments that learn from the return


def train_hrm(
    envs: VectorEnv,
    config: HRMPQNConfig | None = None,
    *,
    seed: int = 0,
    network: HRMQNetwork | None = None,
    report: Report | None = None,
) -> HRMQNetwork:
    """Learn the values of actions and of thinking; equal seeds give equal networks.

    A rollout keeps rollout * num_envs observations on the device, and with `carry="keep"` as many
    carries of 2 * tokens * hidden_size numbers.

    Args:
        envs: return tensors (`hrm_rl`'s own, or `ToTorch`); Discrete actions, SAME_STEP autoreset.
        config: settings.
        seed: of the network, the exploration, the minibatches and the environments.
        network: train this one further, with its `core`, `thinking` and `value_scale`.
        report: called after each update.

    Raises ValueError for environments of another kind, or observations that the network does not read,
    FloatingPointError if the weights become NaN or infinite.
    """
    config = HRMPQNConfig() if config is None else config
    if not isinstance(config, HRMPQNConfig):
        raise ValueError(f"config must be an HRMPQNConfig, got {type(config).__name__}")
    actions, space = count_actions(envs), envs.single_observation_space
    device = torch.device(getattr(envs, "device", "cpu"))
    if network is None:
        parts, scale = (config.core, config.thinking), config.value_scale
        network = seeded(seed, lambda: HRMQNetwork(space, actions, *parts, value_scale=scale))
    check_fits(network, envs)
    network.to(device)
    optimizer = torch.optim.RAdam(network.parameters(), lr=config.lr)
    generator = torch.Generator(device).manual_seed(seed)
    log = ThinkingLog(network.thinking.costs_and_discounts()[0], envs.num_envs, device)
    obs, carry = _first_obs(envs, seed), network.initial_carry(envs.num_envs)
    for steps, lr, epsilon in config.updates(envs.num_envs):
        optimizer.param_groups[0]["lr"] = lr
        rollout, obs, carry = play(envs, network, obs, carry, config.rollout, epsilon, generator)
        target = thinking_returns(rollout, config, network.thinking)
        taught = taught_by_return(rollout, network.thinking.segments)
        lesson = Lesson(rollout.steps.action, target, rollout.segments, taught)
        batch = map_tensors(lambda t: t.flatten(0, 1), (rollout.steps.obs, rollout.carry, lesson))
        loss = fit(network, _scaled_loss, batch, optimizer, config, generator)
        if report is not None:
            thought = log.add(rollout.segments, rollout.ended)
            report(steps, network, _metrics(rollout, target) | thought | {"loss": loss})
    refuse_broken(network, config)
    return network


@torch.no_grad()
def play(
    envs: VectorEnv,
    network: HRMQNetwork,
    obs: Any,
    carry: Carry,
    length: int,
    epsilon: float,
    generator: torch.Generator,
) -> tuple[HRMRollout, Any, Carry]:
    """Step every environment `length` times, each by the values of the segment that it halted with.

    Starts from the observations `obs` and, with `carry="keep"`, from `carry`. `epsilon` is, for each
    environment by itself, the probability of a random action and, drawn separately, of a random number of
    segments. Returns the steps, and obs and carry to continue from.
    """
    keep = network.thinking.carry == "keep"
    thinking: dict[str, Any] = {"epsilon": epsilon, "generator": generator}
    halted, steps = network.think(obs, carry if keep else None, **thinking), []
    for _ in range(length):
        action, drawn = explore(halted.q_action, epsilon, generator)
        seen, segments, began = map_tensors(torch.clone, obs), halted.segments, carry
        obs, reward, terminated, truncated, info = envs.step(action)
        cut, ended = truncated & ~terminated, truncated | terminated
        last, carry = halted.carry if keep else None, network.reset(halted.carry, ended)
        halted = network.think(obs, carry if keep else None, **thinking)

        def value_of(final_obs: Any, last: Carry | None = last) -> Tensor:
            return network.think(final_obs, last).value

        value = next_value(halted.value, cut, info, value_of)
        step = Rollout(seen, action, reward.float(), terminated, value, cut)
        unknown = torch.full_like(value, torch.nan)
        episode: dict[str, Tensor] = info.get("episode", {"r": unknown, "l": unknown})
        start, returns, lengths = began if keep else None, episode["r"], episode["l"].float()
        steps.append(HRMRollout(step, segments, drawn, start, ended, returns, lengths))
    return stack(steps), obs, carry


def thinking_returns(rollout: HRMRollout, config: QLearningConfig, thinking: ThinkingConfig) -> Tensor:
    """Compute the lambda returns [T, B] of each step's action, less the cost of later thinking.

    The cost of segments before the action itself is excluded: it is spent when the segment acts.
    """
    table = torch.tensor(thinking.costs_and_discounts(), device=rollout.segments.device)
    cost, discount = table[:, rollout.segments - 1]
    return lambda_returns(rollout.steps, config.gamma, config.q_lambda, cost, discount)


def continue_targets(values: Values, thinking: ThinkingConfig) -> Tensor:
    """The value of thinking on after segments 1..K-1, from the values of the next segment, [B, K - 1]."""
    halt, go_on = values.q_action.detach().amax(-1), values.q_continue.detach()
    following = torch.cat([torch.maximum(halt, go_on)[:, 1:-1], halt[:, 1:][:, -1:]], 1)
    return thinking.gamma_think * following - thinking.segment_cost


def check_fits(network: HRMQNetwork, envs: VectorEnv) -> None:
    """Raise ValueError if the environments have other observations or actions than the network."""
    actions = count_actions(envs)
    if actions != network.actions:
        raise ValueError(f"the network has {network.actions} actions, the environments {actions}")
    network.check_space(envs.single_observation_space)


@dataclass(frozen=True)
class Evaluation:
    """Results of episodes played greedily."""

    returns: np.ndarray
    """float64 [episodes], as paid by the environments."""
    lengths: np.ndarray
    """int64 [episodes], in steps of the environment; thoughts of a `ThinkingWrapper` do not count."""
    mean_segments: float
    """Segments for each step."""


@torch.no_grad()
def evaluate(
    network: HRMQNetwork, envs: VectorEnv, episodes: int = 100, seed: int | None = None
) -> Evaluation:
    """Play at least `episodes` whole episodes greedily, in environments as for `train_hrm`.

    Every environment plays its share, rounded up; counting the first episodes to end would favour short
    ones. Raises ValueError as `train_hrm`.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be >= 1, got {episodes}")
    check_fits(network, envs)
    rows, share = envs.num_envs, -(-episodes // envs.num_envs)
    obs, carry = _first_obs(envs, seed), network.initial_carry(rows)
    counts, current = np.zeros(rows, int), np.zeros((2, rows))
    returns, lengths, segments = [], [], []
    while (counts < share).any():
        start = carry if network.thinking.carry == "keep" else None
        halted = network.think(obs, start, stop_early=True)
        obs, reward, terminated, truncated, info = envs.step(halted.q_action.argmax(-1))
        counted = counts < share
        segments.append(halted.segments.cpu().numpy()[counted])
        real = np.broadcast_to(np.logical_not(info.get("is_thought", False)), rows)
        current += np.stack([reward.cpu().numpy(), real])
        carry = network.reset(halted.carry, terminated | truncated)
        over = (terminated | truncated).cpu().numpy()
        returns.append(current[0, over & counted])
        lengths.append(current[1, over & counted])
        counts += over
        current[:, over] = 0
    mean = float(np.concatenate(segments).mean())
    return Evaluation(np.concatenate(returns), np.concatenate(lengths).astype(np.int64), mean)


def taught_by_return(rollout: HRMRollout, segments: int) -> Tensor:
    """The segments of K that learn from the return of each step, bool [T, B, K] (see the module)."""
    number = torch.arange(1, segments + 1, device=rollout.segments.device)
    return (number >= rollout.segments[..., None]) | rollout.drawn[..., None]


def thinking_loss(values: Values, lesson: Lesson, thinking: ThinkingConfig) -> Tensor:
    """Half the mean squared error of the action values and, if it is learned, of thinking on."""
    segments = values.q_action.shape[1]
    taken = lesson.action[:, None, None].expand(-1, segments, 1)
    by_return = values.q_action.gather(2, taken)[..., 0] - lesson.target[:, None]  # [B, K]
    row = torch.arange(len(lesson.action), device=lesson.action.device)
    acted = values.q_action.detach()[row, lesson.segments - 1]  # [B, A]
    by_acted = values.q_action - acted[:, None]  # [B, K, A]
    error = torch.where(lesson.taught, by_return.square(), by_acted.square().mean(-1))
    loss = 0.5 * error.mean()
    if thinking.learned and segments > 1:
        error = values.q_continue[:, :-1] - continue_targets(values, thinking)
        loss = loss + 0.5 * error.square().mean()
    return loss


def _scaled_loss(network: HRMQNetwork, batch: tuple[Any, Carry | None, Lesson]) -> Tensor:
    obs, carry, lesson = batch
    loss = thinking_loss(network(obs, carry), lesson, network.thinking)
    return loss / network.value_scale**2


def _first_obs(envs: VectorEnv, seed: int | None) -> Any:
    obs, _ = envs.reset(seed=seed)
    found: list[Any] = []
    map_tensors(found.append, obs)
    if not all(isinstance(leaf, Tensor) for leaf in found):
        raise ValueError(f"{type(envs).__name__} returns no tensors: wrap it in ToTorch")
    return obs


def _metrics(rollout: HRMRollout, target: Tensor) -> dict[str, Tensor]:
    assert rollout.ended_length is not None
    return {
        "reward": rollout.steps.reward.mean(),
        "value": target.mean(),
        "episode_return": mean_where(rollout.ended, rollout.ended_return),
        "episode_steps": mean_where(rollout.ended, rollout.ended_length),
    }
