"""Observations of other people's environments as tokens that HRM reads.

    tokenizer = ObsTokenizer(env.observation_space, hidden_size=64)
    x = tokenizer(to_tensors(env.observation_space, obs))       # [B, num_tokens, 64]

What becomes of a space is decided in `tokenizer_plan`; docs/observations.md has it as a table.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from hrm_rl.agents.tokenizer.embed import tokens_of
from hrm_rl.agents.tokenizer.plan import Part, plan
from hrm_rl.agents.tokenizer.tensors import from_sb3, item
from hrm_rl.envs.to_torch import to_tensors
from hrm_rl.model.layers import truncated_normal_

__all__ = ["ObsTokenizer", "to_tensors"]


class ObsTokenizer(nn.Module):
    """Batched observations of one space to embeddings [B, num_tokens, hidden_size], float32.

    Token 0 is a learned summary, from whose final state an agent reads its answer; the tokens of the
    parts follow, in the order of the space. Entries have about unit variance, as HRM's own inputs
    have: sqrt(D) times the sum of what a token says, where it stands and, if there are several
    parts, which one it is of, over the root of the number of summands.

    The state dict carries the spec, and another tokenizer's is refused, with the part that differs.

    Args:
        space: Discrete, MultiDiscrete, MultiBinary, Box, Text or another space of strings, or a
            Dict or Tuple of such, nested as deep as you like.
        hidden_size: D, the width of the tokens.
        kinds: how to take parts, by name: "image"; "camera/front" of a Dict in a Dict; "0" in a
            Tuple. Or one kind for every part. "categorical", "features", "patches", "text", or with
            the number of bytes to read, "text:64". Parts not named are decided by their spaces.
        patch_size: side of the square patches, by name or for every picture, in pixels. By name also of
            a grid of categories, in cells: it then has a token a patch, not one a cell.
        max_tokens: most tokens in all, the summary counted.

    Raises:
        ValueError: a space that it cannot take, or not in so many tokens; the message has the part,
            its space and what to do.
    """

    def __init__(
        self,
        space: spaces.Space,
        hidden_size: int,
        *,
        kinds: Mapping[str, str] | str | None = None,
        patch_size: Mapping[str, int] | int | None = None,
        max_tokens: int = 256,
    ) -> None:
        super().__init__()
        for name, value in (("hidden_size", hidden_size), ("max_tokens", max_tokens)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
        self.space = space
        self.hidden_size = hidden_size
        self.plan: tuple[Part, ...] = plan(space, kinds, patch_size, max_tokens)
        self.num_tokens = 1 + sum(part.tokens for part in self.plan)
        # Every parameter is in a module of its own: those load after set_extra_state, so a state
        # dict that is refused there has changed none of them.
        self.parts = nn.ModuleList(tokens_of(part, hidden_size) for part in self.plan)
        self.places = _table(self.num_tokens, hidden_size)
        self.part_table = _table(len(self.plan), hidden_size) if len(self.plan) > 1 else None
        part_of = [index for index, part in enumerate(self.plan) for _ in range(part.tokens)]
        self.register_buffer("part_of", torch.tensor(part_of), persistent=False)

    part_of: Tensor

    @property
    def spec(self) -> dict[str, Any]:
        """What every part became, JSON-able; tokenizers of equal specs take each other's weights."""
        return {
            "hidden_size": self.hidden_size,
            "tokens": self.num_tokens,
            "parts": [part.to_dict() for part in self.plan],
        }

    def forward(self, obs: Any) -> Tensor:
        """Tokens [B, num_tokens, hidden_size] of batched tensors, nested like the space.

        A categorical value outside its declared range counts as the nearest inside it, so that no
        index leaves its table; other numbers are not clipped. Nothing waits for the device.

        Raises ValueError where obs is not built like the space.
        """
        named = zip(self.plan, self.parts, strict=True)
        each = [module(self._value(obs, part)) for part, module in named]
        said = each[0] if len(each) == 1 else torch.cat(each, 1)
        places = self.places.weight
        summed = said + places[1:]
        if self.part_table is not None:
            summed = summed + self.part_table(self.part_of)
        summands = 2 if self.part_table is None else 3
        summary = places[:1].expand(len(said), 1, -1)
        return math.sqrt(self.hidden_size) * torch.cat([summary, summed / summands**0.5], 1)

    def from_sb3(self, obs: Any) -> Any:
        """What this takes, of what SB3's `preprocess_obs(..., normalize_images=False)` gives."""
        return from_sb3(self.space, obs)

    def get_extra_state(self) -> Tensor:
        """The spec as bytes: a tensor, so that every format of state dicts carries it."""
        return torch.frombuffer(bytearray(json.dumps(self.spec).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Raises ValueError where the state is damaged or, naming the part, of another spec."""
        try:
            spec = json.loads(bytes(state.tolist()))
            _refuse_other(spec, self.spec)
        except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"the checkpoint's tokenizer has a damaged spec: {error!r}") from None

    def _value(self, obs: Any, part: Part) -> Tensor:
        """A part of obs. Raises ValueError where it is missing or of another shape."""
        space: Any = self.space
        for key in part.path:
            obs = item(obs, key, space)
            space = space[key]
        where = f"part {part.name!r}" if part.path else "the observation"
        if not isinstance(obs, Tensor):
            raise ValueError(
                f"{where} is a {type(obs).__name__}, not a tensor: call to_tensors(space, obs) first"
            )
        shape = tuple(obs.shape[1:])
        if part.kind == "text":  # cut or padded to length
            fits = len(shape) == 1
        else:  # SB3's buffers give a single number an axis of its own
            fits = shape == part.shape or (part.shape == () and shape == (1,))
        if not fits or obs.ndim == 0:
            wanted = ", ".join(["batch", *map(str, part.shape)])
            raise ValueError(f"{where} has shape {list(obs.shape)}; its space asks for [{wanted}]")
        return obs


def _table(rows: int, hidden_size: int) -> nn.Embedding:
    weight = truncated_normal_(torch.empty(rows, hidden_size), 1 / math.sqrt(hidden_size))
    return nn.Embedding(rows, hidden_size, _weight=weight)


def _refuse_other(checkpoint: dict[str, Any], ours: dict[str, Any]) -> None:
    """Raises ValueError that says what differs, if anything does."""
    if checkpoint == ours:
        return
    theirs, here = ({part["name"]: part for part in spec["parts"]} for spec in (checkpoint, ours))
    names = [name for name in {**theirs, **here} if theirs.get(name) != here.get(name)]
    if names:
        name = names[0]
        where = f"in part {name!r}" if name else "in the observation"
        what = _difference(theirs.get(name), here.get(name))
    elif [*theirs] != [*here]:
        where, what = "in the order of its parts", f"{[*theirs]}, here {[*here]}"
    else:
        where, what = "in hidden_size", f"{checkpoint['hidden_size']}, here {ours['hidden_size']}"
    raise ValueError(
        f"the checkpoint's tokenizer differs {where}: {what}; load it for the observation space and "
        f"with the options that it was trained with"
    )


def _difference(theirs: dict[str, Any] | None, here: dict[str, Any] | None) -> str:
    if theirs is None or here is None:
        return (
            "it has none, here there is one" if theirs is None else "it has one, here there is none"
        )
    keys = [key for key in {**theirs, **here} if theirs.get(key) != here.get(key)]
    return ", ".join(
        f"{key} {_short(theirs.get(key))} (here {_short(here.get(key))})" for key in keys
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
