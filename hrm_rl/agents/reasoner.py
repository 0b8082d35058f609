"""An HRM as the reasoner of `ThinkingWrapper` and `HaltedThinking`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from hrm_rl.agents.pqn.q_network import HRMQNetwork
from hrm_rl.agents.tokenizer import ObsTokenizer, to_tensors
from hrm_rl.envs.plain import map_space
from hrm_rl.envs.thinking import Thought
from hrm_rl.model import Carry, HRMCore

Values = Callable[[Tensor], Tensor]
"""State of the summary token [B, D] -> a value of each action [B, A]."""
Halting = Callable[[Tensor], tuple[Tensor, Tensor]]
"""State of the summary token [B, D] -> value of acting now [B], value of thinking on [B]."""


class HRMReasoner:
    """Run segments of an `HRMCore` on one observation, without training it.

    The latent shown to a policy is the summary token z_H[:, 0]. The network is not copied: a reasoner
    follows its training.

        network = train_hrm(envs, HRMPQNConfig(...))
        env = HaltedThinking(make_env(), HRMReasoner.of_network(network), "q", segment_cost=0.01)

        model = PPO("MlpPolicy", env, policy_kwargs=hrm_policy_kwargs(segments=4))
        env = HaltedThinking(make_env(), HRMReasoner.of_sb3(model), "stable:2")

    Args:
        tokenizer: of the environment's observations.
        core: of the tokenizer's width.
        values: of each action. A halting rule sees them as the logits of one cell.
        judgement: the Q values that the rules `q`, `q-halt` and similar ones compare; without it the
            wrapper refuses these rules.

    Raises ValueError if tokenizer and core have different widths.
    """

    def __init__(
        self, tokenizer: ObsTokenizer, core: HRMCore, values: Values, judgement: Halting | None = None
    ) -> None:
        if tokenizer.hidden_size != core.config.hidden_size:
            raise ValueError(
                f"tokenizer and core must have the same hidden_size, got {tokenizer.hidden_size} and "
                f"{core.config.hidden_size}"
            )
        self.tokenizer, self.core = tokenizer, core
        self.values, self.judgement = values, judgement

    @classmethod
    def of_network(cls, network: HRMQNetwork) -> "HRMReasoner":
        """Make the reasoner of a network trained by PQN; acting now has the best action's value."""

        def judgement(summary: Tensor) -> tuple[Tensor, Tensor]:
            q_action, q_continue = network.heads(summary)
            return q_action.amax(-1), q_continue

        return cls(network.tokenizer, network.core, lambda s: network.heads(s)[0], judgement)

    @classmethod
    def of_sb3(cls, model: Any) -> "HRMReasoner":
        """Make the reasoner of a Stable-Baselines3 model with an `HRMFeaturesExtractor`.

        Its values are the logits of an actor of Discrete actions (PPO, A2C) or the Q values (DQN). Raises
        ValueError for other models, and for a policy that itself thinks in a `ThinkingWrapper`.
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
                "this policy was trained in a ThinkingWrapper, where it decides how long to think; "
                "train it on the bare environment"
            )
        return cls(extractor.tokenizer, extractor.core, values)

    @property
    def latent_size(self) -> int:
        return self.core.config.hidden_size

    @torch.no_grad()
    def think(self, observation: Any, carry: Carry | None = None) -> Thought:
        """Run one segment on one observation of the tokenizer's space, on the core's device."""
        device, space = self.core.H_init.device, self.tokenizer.space
        x = self.tokenizer(to_tensors(space, map_space(_batch, space, observation), device))
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


def _batch(_: spaces.Space, value: Any) -> Any:
    """A batch of one."""
    return [value] if isinstance(value, str) else np.asarray(value)[None]
