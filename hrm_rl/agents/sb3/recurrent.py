"""An HRM for sb3-contrib's RecurrentPPO: the carry is the recurrent state.

model = RecurrentPPO(HRMRecurrentPolicy, "HRM/CueRecall-v0", policy_kwargs={"hidden_size": 32})
"""

from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor

from hrm_rl.agents.cell import CarryMode, HRMCell, core_config
from hrm_rl.agents.tokenizer import ObsTokenizer
from hrm_rl.model import CoreConfig

_NEEDS_STATE = "HRMRecurrentPolicy carries a state from step to step: use sb3_contrib.RecurrentPPO"
_NETWORKS_WITHOUT_STATE = ("q_net", "quantile_net", "actor")  # which DQN, QR-DQN, SAC look for
_SHARED = "nothing instead: actor and critic share tokenizer and core"
_NOT_TAKEN = {
    "lstm_hidden_size": "hidden_size",
    "n_lstm_layers": "tokens",
    "lstm_kwargs": "config, a CoreConfig",
    **dict.fromkeys(("shared_lstm", "enable_critic_lstm", "share_features_extractor"), _SHARED),
    "features_extractor_class": "nothing instead: an ObsTokenizer reads the observation",
    "features_extractor_kwargs": "kinds, patch_size and max_tokens",
    "normalize_images": "nothing instead: the ObsTokenizer scales pictures",
}


class TokenFeatures(BaseFeaturesExtractor):
    """Features [B, num_tokens * hidden_size]: an observation's tokens in sequence."""

    def __init__(self, observation_space: spaces.Space, hidden_size: int, **options: Any) -> None:
        tokenizer = ObsTokenizer(observation_space, hidden_size, **options)
        super().__init__(observation_space, tokenizer.num_tokens * hidden_size)
        self.tokenizer = tokenizer

    def forward(self, observations: Any) -> Tensor:
        return self.tokenizer(self.tokenizer.from_sb3(observations)).flatten(1)


class HRMRecurrentPolicy(RecurrentActorCriticPolicy):
    """`HRMCell` in the place of RecurrentPPO's LSTM, for any observation that `ObsTokenizer` reads.

    Actor and critic share the tokenizer and the cell, which learns from the actor's loss alone: the
    critic reads the cell's output and passes no gradient back, as with sb3-contrib's `shared_lstm`.
    RecurrentPPO resets the state at the start of an episode.

    Its buffer keeps four float32 copies of the state, 16 * n_steps * n_envs * tokens * hidden_size bytes.
    With many tokens in an observation, `tokens` keeps the state small.

    Args:
        observation_space: of the environment.
        action_space: of the environment.
        lr_schedule: learning rate, from the algorithm.
        net_arch: layers of the heads after the cell; by default none for the actor, one of 64 for
            the critic.
        ortho_init: orthogonal weights in the heads, small ones for the actions; never in the tokenizer and
            the core.
        hidden_size: width D of the tokens; by default the config's, else 64.
        segments: as in `HRMCell`.
        carry: as in `HRMCell`.
        through_time: as in `HRMCell`.
        config: as in `HRMCell`.
        tokens: tokens of the state; None keeps the state of all the observation's tokens. See `HRMCell`.
        kinds: as in `ObsTokenizer`.
        patch_size: as in `ObsTokenizer`.
        max_tokens: as in `ObsTokenizer`.
        kwargs: other arguments of sb3-contrib's RecurrentActorCriticPolicy, such as `optimizer_kwargs`.

    Raises ValueError for a space or setting that the tokenizer or `HRMCell` refuses, an argument of LSTM
    policies that has no meaning here, an algorithm without states (PPO, A2C, DQN; at the first step), and
    a state with another number of environments than the observation.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        *,
        ortho_init: bool = True,
        hidden_size: int | None = None,
        segments: int = 1,
        carry: CarryMode = "keep",
        through_time: bool = True,
        tokens: int | None = None,
        config: CoreConfig | None = None,
        kinds: Any = None,
        patch_size: Any = None,
        max_tokens: int = 256,
        **kwargs: Any,
    ) -> None:
        for name, instead in _NOT_TAKEN.items():
            if name in kwargs:
                raise ValueError(f"HRMRecurrentPolicy has no {name}; use {instead}")
        config = config or core_config(hidden_size)
        cell: dict[str, Any] = {"hidden_size": hidden_size, "segments": segments, "carry": carry}
        cell |= {"through_time": through_time, "tokens": tokens, "config": config}
        self._cell_settings = cell
        self._token_settings = {"kinds": kinds, "patch_size": patch_size, "max_tokens": max_tokens}
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            {"pi": [], "vf": [64]} if net_arch is None else net_arch,
            ortho_init=False,  # it would change the tokenizer too
            features_extractor_class=TokenFeatures,
            features_extractor_kwargs={"hidden_size": config.hidden_size, **self._token_settings},
            normalize_images=False,
            lstm_hidden_size=config.hidden_size,
            shared_lstm=True,
            enable_critic_lstm=False,
            **kwargs,
        )
        self.ortho_init = ortho_init
        if ortho_init:
            gains = ((self.mlp_extractor, 2**0.5), (self.action_net, 0.01), (self.value_net, 1.0))
            for head, gain in gains:
                head.apply(partial(self.init_weights, gain=gain))
        lstm: Any = HRMCell(self.features_dim, embedded=True, **self._cell_settings)
        self.lstm_actor = lstm
        self.lstm_hidden_state_shape = (lstm.num_layers, 1, lstm.hidden_size)
        settings: dict[str, Any] = {"lr": lr_schedule(1)} | self.optimizer_kwargs
        self.optimizer = self.optimizer_class(self.parameters(), **settings)

    def forward(  # type: ignore[override]
        self,
        obs: Any,
        lstm_states: RNNStates | None = None,
        episode_starts: Tensor | None = None,
        deterministic: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, RNNStates]:
        """Step every environment: return actions, values, log probabilities and the next state."""
        if lstm_states is None or episode_starts is None:
            raise ValueError(_NEEDS_STATE)
        _check_environments(lstm_states.pi[0].shape[1], _rows(obs))
        return super().forward(obs, lstm_states, episode_starts, deterministic)

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions and the next state (h, c), each [tokens, n_envs, hidden_size]; None: fresh."""
        if state is not None:
            tensors, _ = self.obs_to_tensor(observation)
            _check_environments(np.shape(state[0])[1], _rows(tensors))
        return super().predict(observation, state, episode_start, deterministic)

    def __getattr__(self, name: str) -> Any:
        if name in _NETWORKS_WITHOUT_STATE:
            raise ValueError(_NEEDS_STATE)
        return super().__getattr__(name)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data = {name: value for name, value in data.items() if name not in _NOT_TAKEN}
        return data | self._cell_settings | self._token_settings


def _rows(obs: Any) -> int:
    return len(next(iter(obs.values())) if isinstance(obs, dict) else obs)


def _check_environments(in_state: int, in_observation: int) -> None:
    if in_state != in_observation:
        raise ValueError(
            f"the state is of {in_state} environments, the observation of {in_observation}: "
            "after a change of their number call with state=None"
        )
