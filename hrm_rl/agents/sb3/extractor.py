"""An HRM as the features extractor of a Stable-Baselines3 policy.

    model = PPO("MlpPolicy", env, policy_kwargs=hrm_policy_kwargs(hidden_size=64, segments=4))

`ObsTokenizer` turns observations into tokens, `HRMCore` runs a few segments on them from a fresh carry, and
SB3's heads read the summary token of z_H. The rest stays SB3's.
"""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, TypeGuard, get_args

import torch
from gymnasium import Space, spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from hrm_rl.agents.tokenizer import ObsTokenizer
from hrm_rl.envs.to_torch import map_tensors
from hrm_rl.messages import did_you_mean
from hrm_rl.model import Carry, CoreConfig, HRMCore
from hrm_rl.settings import check_integers, check_interval, check_one_of

Start = Literal["drawn", "zero"]

_SEGMENT = "segment"


class HRMFeaturesExtractor(BaseFeaturesExtractor):
    """Features [B, hidden_size]: the summary token of z_H after `segments` segments of thinking.

    For any policy of SB3 or sb3-contrib with a features extractor. It keeps HRM's initial weights, since
    SB3's orthogonal initialisation skips it, and is the same in training and evaluation.

    In a `ThinkingWrapper` without a reasoner the policy itself thinks. The extractor recognises the
    wrapper's observation, a Dict with a Discrete `segment` and neither `thought` nor `draft`: the features
    of row i are then those after `segment[i] + 1` segments on the other parts, plus a learned vector for
    the count (zero at first), and the argument `segments` has no effect.

    Args:
        observation_space: from SB3.
        hidden_size: width of the core, and number of features.
        segments: reasoning segments for each observation.
        deep_supervision: share of the last segment's gradient that every earlier one gets too. The
            features are `z_n + w * sum(z_k - stop_gradient(z_k))`, so their values do not change. 0
            trains the last segment only, which is faster. The paper computes a loss for every segment
            (arXiv 2506.21734, section 2); SB3 computes one, for the last.
        start: the fresh carry, the same for every observation: "drawn" as in the paper, or "zero", which
            also starts the summary's embedding at zero; that still learns. From "zero" the features differ
            more between observations at first.
        kinds: as in `ObsTokenizer`.
        patch_size: as in `ObsTokenizer`.
        max_tokens: as in `ObsTokenizer`.
        normalize_images: the policy's setting of this name: whether SB3 divides pictures by 255.
        core: other fields of `CoreConfig`: H_cycles, L_cycles, H_layers, L_layers, num_heads, ...

    Raises ValueError for a value out of range, or a space that cannot become tokens.
    """

    def __init__(
        self,
        observation_space: Space[Any],
        hidden_size: int = 64,
        segments: int = 1,
        deep_supervision: float = 0.0,
        start: Start = "drawn",
        kinds: Mapping[str, str] | str | None = None,
        patch_size: Mapping[str, int] | int | None = None,
        max_tokens: int = 256,
        normalize_images: bool = True,
        **core: Any,
    ) -> None:
        config = CoreConfig(hidden_size=hidden_size, **core)
        super().__init__(observation_space, hidden_size)
        self.segments, self.deep_supervision, self.start = segments, deep_supervision, start
        check_integers(self, 1, "segments")
        check_interval(self, "[0, inf)", "deep_supervision")
        check_one_of(self, get_args(Start), "start")
        self.counts: nn.Embedding | None = None
        if _counts_thoughts(observation_space):
            parts = dict(observation_space.spaces)
            counter: Any = parts.pop(_SEGMENT)
            self.counts = nn.Embedding(int(counter.n), hidden_size)
            nn.init.zeros_(self.counts.weight)
            observation_space = spaces.Dict(parts)
        tokens: dict[str, Any] = {"kinds": kinds, "patch_size": patch_size, "max_tokens": max_tokens}
        self.tokenizer = ObsTokenizer(observation_space, hidden_size, **tokens)
        self.core = HRMCore(config)
        if start == "zero":
            with torch.no_grad():
                for tensor in (self.core.H_init, self.core.L_init, self.tokenizer.places.weight[0]):
                    tensor.zero_()
        self._pictures = _pictures(observation_space)
        self._divided = normalize_images
        self._unchecked = bool(self._pictures)

    def forward(self, observations: Any) -> Tensor:
        """Features [B, hidden_size] of observations from SB3's `preprocess_obs`."""
        if self.counts is None:
            x = self._tokens(observations)
            return self._think(x, [len(x)] * self.segments)
        thoughts = observations[_SEGMENT].flatten(1).argmax(-1)  # one-hot
        # The rows that think longest come first, so that a segment runs on the first rows only. This
        # waits once for the device, for their numbers.
        order = thoughts.argsort(descending=True)
        x = self._tokens(observations)[order]
        segments = torch.arange(self.counts.num_embeddings, device=x.device)
        running = (thoughts >= segments[:, None]).sum(1).tolist()
        features = self._think(x, [rows for rows in running if rows])
        return features[order.argsort()] + self.counts(thoughts)

    def apply(self, fn: Any) -> Self:
        """Apply `fn` to every module, but skip SB3's orthogonal initialisation."""
        if getattr(fn, "func", fn) is BasePolicy.init_weights:
            return self
        return super().apply(fn)

    def train(self, mode: bool = True) -> Self:
        """Set the mode, if it is another: SB3 sets it at every prediction, and the walk through the modules
        takes as long as a segment."""
        return self if mode == self.training else super().train(mode)

    def _think(self, x: Tensor, running: list[int]) -> Tensor:
        """Run segment k on the first `running[k]` rows of x [B, T, D]; return each row's last summary."""
        tracked = torch.is_grad_enabled()
        deep = tracked and self.deep_supervision > 0
        # A fresh carry as views, since nothing writes into it and a copy takes noticeable time.
        carry = Carry(self.core.H_init.expand_as(x), self.core.L_init.expand_as(x))
        past = torch.zeros_like(x[:, 0])  # stays 0; carries the gradient of the segments so far
        last: list[Tensor] = []
        for rows, staying in zip(running, [*running[1:], 0], strict=True):
            if rows < len(x):
                x, carry = map_tensors(lambda t, rows=rows: t[:rows], (x, carry))
            ending = staying < rows
            with torch.set_grad_enabled(tracked and (ending or deep)):
                carry, z_H = self.core(carry, x, read=None if staying else 1)
            if ending:
                summary = z_H[staying:, 0]
                last.append(summary + self.deep_supervision * past[staying:] if deep else summary)
            if deep:
                past = past[:staying] + z_H[:staying, 0] - z_H[:staying, 0].detach()
        return last[0] if len(last) == 1 else torch.cat(last[::-1])

    def _tokens(self, observations: Any) -> Tensor:
        """[B, T, D]"""
        if self._pictures:
            observations = self._undivided(observations)
        return self.tokenizer(self.tokenizer.from_sb3(observations))

    def _undivided(self, observations: Any) -> Any:
        """The observations with pictures in 0..255, whether or not SB3 divided them by 255."""
        parts = observations if isinstance(observations, dict) else {None: observations}
        if self._unchecked:
            self._unchecked = False
            for key in self._pictures:
                _check_division(parts[key], self._divided)
        if self._divided:
            # Rounded, because small pictures may hold ids.
            parts = parts | {key: (parts[key] * 255).round() for key in self._pictures}
        return parts if isinstance(observations, dict) else parts[None]


def hrm_policy_kwargs(
    hidden_size: int = 64,
    segments: int = 1,
    *,
    net_arch: Sequence[int] | dict[str, list[int]] = (64,),
    **options: Any,
) -> dict[str, Any]:
    """`policy_kwargs` for PPO, A2C, DQN, QR-DQN, SAC and similar algorithms: an HRM, then small heads.

    All values but the class are plain, so SB3 can save them. Extend them by `hrm_policy_kwargs(...) | {...}`.
    Actor and critic of PPO and A2C share the HRM: if values are far above 1, normalise rewards
    (`VecNormalize(env, norm_obs=False)`), else the critic's gradient dominates.

    Args:
        hidden_size: width of the HRM, and number of features.
        segments: reasoning segments for each observation.
        net_arch: widths of the layers between the features and each head, in SB3's form.
        options: further arguments of `HRMFeaturesExtractor`.

    Raises ValueError for an unknown option, naming the nearest known one.
    """
    _check_names(options)
    extractor = {"hidden_size": hidden_size, "segments": segments, "normalize_images": False}
    return {
        "features_extractor_class": HRMFeaturesExtractor,
        "features_extractor_kwargs": extractor | options,
        "normalize_images": False,
        "net_arch": net_arch if isinstance(net_arch, dict) else list(net_arch),
    }


def _check_names(options: Mapping[str, Any]) -> None:
    """Raise ValueError for an unknown option, before SB3 makes the extractor far from the user's code."""
    arguments = inspect.signature(HRMFeaturesExtractor).parameters
    fields = (field.name for field in dataclasses.fields(CoreConfig))
    known = sorted({*arguments, *fields, "net_arch"} - {"observation_space", "core"})
    for name, value in options.items():
        if name not in known:
            hint = f"{did_you_mean(name, known)} known: {', '.join(known)}".strip()
            raise ValueError(f"unknown option {name}={value!r}; {hint}")


def _counts_thoughts(space: Space[Any]) -> TypeGuard[spaces.Dict]:
    """Whether this is the space of a ThinkingWrapper without a reasoner; a `draft` marks a puzzle."""
    return (
        isinstance(space, spaces.Dict)
        and isinstance(space.get(_SEGMENT), spaces.Discrete)
        and not {"thought", "draft"} & space.keys()
    )


def _pictures(space: Space[Any]) -> tuple[str | None, ...]:
    """The parts that SB3 takes for pictures and divides by 255; None for a space that is one itself."""
    if isinstance(space, spaces.Dict):
        return tuple(key for key, part in space.items() if is_image_space(part))
    return (None,) if is_image_space(space) else ()


def _check_division(picture: Tensor, divided: bool) -> None:
    """Raise ValueError if a picture contradicts `normalize_images`."""
    wrong = picture > 1 if divided else picture != picture.round()
    if wrong.any():
        raise ValueError(
            f"pictures arrive {'in 0..255' if divided else 'divided by 255'}, but HRMFeaturesExtractor has "
            f"normalize_images={divided}; give it the policy's normalize_images={not divided}, or use "
            f"hrm_policy_kwargs, which sets both"
        )
