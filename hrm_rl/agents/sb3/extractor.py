"""An HRM inside a Stable-Baselines3 policy: it thinks about an observation and hands on what it thought.

    model = PPO("MlpPolicy", env, policy_kwargs=hrm_policy_kwargs(hidden_size=64, segments=4))

Observations become tokens (`ObsTokenizer`); the recurrence (`HRMCore`) runs a few segments on them
from a fresh carry; the summary token of z_H is what SB3's heads see. Everything else stays SB3's.
"""

import dataclasses
import difflib
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
from hrm_rl.model import Carry, CoreConfig, HRMCore

Start = Literal["drawn", "zero"]

_SEGMENT = "segment"


class HRMFeaturesExtractor(BaseFeaturesExtractor):
    """Features [B, hidden_size]: the summary token of z_H after `segments` segments of thinking.

    For any policy of SB3 or sb3-contrib that takes a features extractor. It begins with HRM's own initial
    weights: SB3's orthogonal initialisation leaves it alone. It is the same in training and evaluation.

    In a `ThinkingWrapper` without a reasoner the policy itself thinks. A Dict with a Discrete `segment` and
    neither `thought` nor `draft` is taken for its observation: row i's features are those after
    `segment[i] + 1` segments on the other parts, plus a learned vector for the count (zero at first), and
    the argument `segments` is not asked.

    Args:
        observation_space: what SB3 gives.
        hidden_size: width of the core, and number of features.
        segments: reasoning segments for each observation.
        deep_supervision: how much of the last segment's gradient every earlier one gets too. The features
            are `z_n + w * sum(z_k - stop_gradient(z_k))`, so their values do not change. 0 trains the last
            segment only, which is faster. The paper gives every segment a loss of its own
            (arXiv 2506.21734, section 2); SB3 computes one loss, on the last.
        start: the fresh carry, the same for every observation: "drawn" as the paper has it, or "zero", the
            summary's own embedding then too, which may still learn. From "zero" the features differ more
            between observations at first.
        kinds: how parts of the observation become tokens, where not by themselves (`ObsTokenizer`).
        patch_size: side of a picture's patches, in pixels, or of a grid's, in cells (`ObsTokenizer`).
        max_tokens: limit on tokens (`ObsTokenizer`).
        normalize_images: what the policy has under this name: whether SB3 divides pictures by 255.
        core: other fields of `CoreConfig`: H_cycles, L_cycles, H_layers, L_layers, num_heads, ...

    Raises:
        ValueError: a value out of range, or a space that cannot become tokens.
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
        _check(segments, deep_supervision, start)
        config = CoreConfig(hidden_size=hidden_size, **core)
        super().__init__(observation_space, hidden_size)
        self.segments = segments
        self.deep_supervision = float(deep_supervision)
        self.counts: nn.Embedding | None = None
        if _counts_thoughts(observation_space):
            parts = dict(observation_space.spaces)
            counter: Any = parts.pop(_SEGMENT)
            self.counts = nn.Embedding(int(counter.n), hidden_size)
            nn.init.zeros_(self.counts.weight)
            observation_space = spaces.Dict(parts)
        self.tokenizer = ObsTokenizer(
            observation_space,
            hidden_size,
            kinds=kinds,
            patch_size=patch_size,
            max_tokens=max_tokens,
        )
        self.core = HRMCore(config)
        if start == "zero":
            with torch.no_grad():
                for tensor in (self.core.H_init, self.core.L_init, self.tokenizer.places.weight[0]):
                    tensor.zero_()
        self._pictures = _pictures(observation_space)
        self._divided = normalize_images
        self._unseen = bool(self._pictures)

    def forward(self, observations: Any) -> Tensor:
        """What SB3's `preprocess_obs` gives -> features [B, hidden_size]."""
        if self.counts is None:
            x = self._tokens(observations)
            return self._think(x, [len(x)] * self.segments)
        thoughts = observations[_SEGMENT].flatten(1).argmax(-1)  # one-hot
        # Those who think longest first: a segment then runs on the first so many rows. Waits once for
        # the device, to know how many.
        order = thoughts.argsort(descending=True)
        x = self._tokens(observations)[order]
        segments = torch.arange(self.counts.num_embeddings, device=x.device)
        running = (thoughts >= segments[:, None]).sum(1).tolist()
        features = self._think(x, [rows for rows in running if rows])
        return features[order.argsort()] + self.counts(thoughts)

    def apply(self, fn: Any) -> Self:
        """As every module's, except that SB3's orthogonal initialisation passes by."""
        if getattr(fn, "func", fn) is BasePolicy.init_weights:
            return self
        return super().apply(fn)

    def _think(self, x: Tensor, running: list[int]) -> Tensor:
        """Run segment k on the first `running[k]` rows of x [B, T, D]; every row's last summary [B, D]."""
        tracked = torch.is_grad_enabled()
        deep = tracked and self.deep_supervision > 0
        # A fresh carry as views, since nobody writes into it: copying it is felt at this size.
        carry = Carry(self.core.H_init.expand_as(x), self.core.L_init.expand_as(x))
        past = torch.zeros_like(x[:, 0])  # 0 it stays, but for its gradient: of the segments so far
        last: list[Tensor] = []
        for rows, staying in zip(running, [*running[1:], 0], strict=True):
            if rows < len(x):
                x, carry = x[:rows], Carry(carry.z_H[:rows], carry.z_L[:rows])
            ending = staying < rows
            with torch.set_grad_enabled(tracked and (ending or deep)):
                carry, z_H = self.core(carry, x)
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
        """The observations with their pictures as bytes' values, whether or not SB3 divided them."""
        parts = observations if isinstance(observations, dict) else {None: observations}
        if self._unseen:
            self._unseen = False
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
    """`policy_kwargs` for PPO, A2C, DQN, QR-DQN, SAC and their like: an HRM, then small heads.

    All is plain but the class, so that SB3 can save it. To add to it: `hrm_policy_kwargs(...) | {...}`.
    PPO's and A2C's actor and critic share the HRM: where values are far above 1, normalise rewards
    (`VecNormalize(env, norm_obs=False)`), or the critic's gradient rules it.

    Args:
        hidden_size: width of the HRM, and number of features.
        segments: reasoning segments for each observation.
        net_arch: widths of the layers between the features and each head, as SB3 takes them.
        options: further arguments of `HRMFeaturesExtractor`.

    Raises:
        ValueError: one that `HRMFeaturesExtractor` does not take, with the nearest that it does.
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
    """Here and not where SB3 makes the extractor, which is far from where the name was written."""
    known = {*inspect.signature(HRMFeaturesExtractor).parameters, "net_arch"}
    known |= {field.name for field in dataclasses.fields(CoreConfig)}
    known -= {"observation_space", "core"}
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(
                f"unknown option {name}={value!r}; {hint}known: {', '.join(sorted(known))}"
            )


def _check(segments: int, deep_supervision: float, start: str) -> None:
    if isinstance(segments, bool) or not isinstance(segments, int) or segments < 1:
        raise ValueError(f"segments must be an integer >= 1, got {segments!r}")
    if not 0 <= deep_supervision < float("inf"):
        raise ValueError(f"deep_supervision must be a number >= 0, got {deep_supervision!r}")
    if start not in get_args(Start):
        raise ValueError(f"start must be one of {get_args(Start)}, got {start!r}")


def _counts_thoughts(space: Space[Any]) -> TypeGuard[spaces.Dict]:
    """Whether this is what a thinking policy sees; a `draft` is that of a puzzle environment."""
    return (
        isinstance(space, spaces.Dict)
        and isinstance(space.get(_SEGMENT), spaces.Discrete)
        and not {"thought", "draft"} & space.keys()
    )


def _pictures(space: Space[Any]) -> tuple[str | None, ...]:
    """Parts that SB3 takes for pictures and divides by 255; None is the whole."""
    if isinstance(space, spaces.Dict):
        return tuple(key for key, part in space.items() if is_image_space(part))
    return (None,) if is_image_space(space) else ()


def _check_division(picture: Tensor, divided: bool) -> None:
    """Raises ValueError where bytes' values were announced otherwise than they arrive."""
    if divided and bool((picture > 1).any()):
        given, say = "as they are", False
    elif not divided and bool((picture != picture.round()).any()):
        given, say = "divided by 255", True
    else:
        return
    raise ValueError(
        f"pictures arrive {given}, but HRMFeaturesExtractor was made with normalize_images={divided}; "
        f"give it the policy's normalize_images={say}, or use hrm_policy_kwargs, which sets both"
    )
