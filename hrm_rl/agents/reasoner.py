"""An HRM that thinks for an environment's wrapper: `ThinkingWrapper`, `HaltedThinking`.

network = train_hrm(envs, HRMPQNConfig(...))
env = HaltedThinking(make_env(), HRMReasoner.of_network(network), "q", segment_cost=0.01)

model = PPO("MlpPolicy", env, policy_kwargs=hrm_policy_kwargs(segments=4))
env = HaltedThinking(make_env(), HRMReasoner.of_sb3(model), "stable:2")
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from hrm_rl.agents.tokenizer import ObsTokenizer, to_tensors
from hrm_rl.envs.thinking import Thought
from hrm_rl.model import Carry, HRMCore

Values = Callable[[Tensor], Tensor]
"""State of the summary token [B, D] -> a value of each action [B, A]."""
Judgement = Callable[[Tensor], tuple[Tensor, Tensor]]
"""State of the summary token [B, D] -> value of acting now [B], value of thinking on [B]."""


class QNetwork(Protocol):
    """What `of_network` needs: `HRMQNetwork`, say."""

    @property
    def tokenizer(self) -> ObsTokenizer: ...
    @property
    def core(self) -> HRMCore: ...
    @property
    def action_head(self) -> Values: ...
    @property
    def continue_head(self) -> Values: ...
    @property
    def value_scale(self) -> float: ...  # the heads speak in units of it


class HRMReasoner:
    """Segments of an `HRMCore` on one observation; it trains nothing.

    The latent that a policy is shown is the summary token z_H[:, 0]. The network is not copied: a reasoner
    follows its training.

    Args:
        tokenizer: of the environment's observations.
        core: of the tokenizer's width.
        values: of each action. To a rule for stopping they are the logits of one cell.
        judgement: what the rules `q`, `q-halt` and their like compare; without it they are refused.

    Raises:
        ValueError: tokenizer and core are of different widths.
    """

    def __init__(
        self,
        tokenizer: ObsTokenizer,
        core: HRMCore,
        values: Values,
        judgement: Judgement | None = None,
    ) -> None:
        if tokenizer.hidden_size != core.config.hidden_size:
            raise ValueError(
                f"the tokenizer's hidden_size is {tokenizer.hidden_size}, the core's "
                f"{core.config.hidden_size}: they must be equal"
            )
        self.tokenizer, self.core = tokenizer, core
        self.values, self.judgement = values, judgement

    @classmethod
    def of_network(cls, network: QNetwork) -> "HRMReasoner":
        """Of a network that PQN trained; acting now is worth the best action's value."""

        def values(summary: Tensor) -> Tensor:
            return network.value_scale * network.action_head(summary)

        def judgement(summary: Tensor) -> tuple[Tensor, Tensor]:
            go_on = network.value_scale * network.continue_head(summary)[:, 0]
            return values(summary).amax(-1), go_on

        return cls(network.tokenizer, network.core, values, judgement)

    @classmethod
    def of_sb3(cls, model: Any) -> "HRMReasoner":
        """Of a Stable-Baselines3 model with an `HRMFeaturesExtractor`: its actions' logits or Q values.

        Knows models with an actor of Discrete actions (PPO, A2C) and with a Q network (DQN). Raises
        ValueError for others, and for a policy that itself thinks in a `ThinkingWrapper`.
        """
        policy = model.policy
        if hasattr(policy, "mlp_extractor") and isinstance(model.action_space, spaces.Discrete):
            extractor = policy.pi_features_extractor

            def values(summary: Tensor) -> Tensor:
                return policy.action_net(policy.mlp_extractor.forward_actor(summary))

        elif hasattr(policy, "q_net"):
            extractor, values = policy.q_net.features_extractor, policy.q_net.q_net
        else:
            raise ValueError(
                f"{type(policy).__name__} has neither an actor of Discrete actions nor a Q network"
            )
        if not hasattr(extractor, "core") or not hasattr(extractor, "tokenizer"):
            raise ValueError(
                f"the policy's features come from {type(extractor).__name__}, not from an HRM; make the "
                "model with policy_kwargs=hrm_policy_kwargs(...)"
            )
        if getattr(extractor, "counts", None) is not None:
            raise ValueError(
                "this policy was trained in a ThinkingWrapper, where it decides itself how long to think; "
                "train it on the bare environment"
            )
        return cls(extractor.tokenizer, extractor.core, values)

    @property
    def latent_size(self) -> int:
        return self.core.config.hidden_size

    @torch.no_grad()
    def think(self, observation: Any, carry: Carry | None = None) -> Thought:
        """One segment about one observation of the tokenizer's space, on the core's device."""
        device = self.core.H_init.device
        x = self.tokenizer(to_tensors(self.tokenizer.space, _batch(observation), device))
        if carry is None:
            carry = self.core.initial_carry(1, x.shape[1])
        carry, z_H = self.core(carry, x)
        summary = z_H[:, 0]
        if self.judgement is None:
            q_halt = q_continue = torch.full((1,), torch.nan, device=device)
        else:
            q_halt, q_continue = self.judgement(summary)
        latent = summary[0].float().cpu().numpy().copy()
        return Thought(carry, self.values(summary)[:, None], q_halt, q_continue, latent)


def _batch(observation: Any) -> Any:
    """A batch of one, nested as the observation is."""
    if isinstance(observation, dict):
        return {key: _batch(value) for key, value in observation.items()}
    if isinstance(observation, tuple):
        return tuple(_batch(value) for value in observation)
    return [observation] if isinstance(observation, str) else np.asarray(observation)[None]
