"""Observations of any Gymnasium space as tokens that an HRM reads.

    tokenizer = ObsTokenizer(env.observation_space, hidden_size=64)
    x = tokenizer(to_tensors(env.observation_space, obs))       # [B, num_tokens, 64]

`tokenizer.plan` decides what a space becomes; docs/observations.md has the table.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from hrm_rl.agents.tokenizer.embed import tokens_of
from hrm_rl.agents.tokenizer.part import Part
from hrm_rl.agents.tokenizer.plan import plan
from hrm_rl.envs.plain import map_space
from hrm_rl.envs.to_torch import to_tensors
from hrm_rl.messages import shortened
from hrm_rl.model.layers import truncated_normal_
from hrm_rl.settings import check_integers
from hrm_rl.stored.text import parse_json

__all__ = ["ObsTokenizer", "to_tensors"]


class ObsTokenizer(nn.Module):
    """Batched observations of one space to embeddings [B, num_tokens, hidden_size], float32.

    Token 0 is a learned summary, from whose final state an agent reads its answer; the tokens of the
    parts follow, in the order of the space. Entries have about unit variance, as HRM's own inputs have:
    sqrt(D) times the sum of the embeddings of content, position and, with several parts, the part,
    divided by the root of their number. Categories out of the space count as the nearest in it.

    The state dict contains the spec; loading that of a different tokenizer raises ValueError naming the
    part that differs.

    Args:
        space: Discrete, MultiDiscrete, MultiBinary, Box, Text or another space of strings, or a
            Dict or Tuple of such, nested to any depth.
        hidden_size: D, the width of the tokens.
        kinds: how to read parts, by name: "image"; "camera/front" for a Dict in a Dict; "0" in a
            Tuple. Or one kind for every part. "categorical", "features", "patches", "text", or with
            the number of bytes to read, "text:64". The space decides about parts not named.
        patch_size: side of the square patches, by name or for every picture, in pixels. By name also for
            a grid of categories, in cells: one token for each patch instead of each cell.
        max_tokens: limit on the number of tokens, summary included.

    Raises ValueError, naming the part, its space and a remedy, for a space that cannot be read, or not in
    `max_tokens` tokens.
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
        self.space, self.hidden_size, self.max_tokens = space, hidden_size, max_tokens
        check_integers(self, 1, "hidden_size", "max_tokens")
        self.plan: tuple[Part, ...] = plan(space, kinds, patch_size, max_tokens)
        self.num_tokens = 1 + sum(part.tokens for part in self.plan)
        # Parameters belong to submodules, which load after set_extra_state: a state dict that it
        # refuses has changed none of them.
        self.parts = nn.ModuleList(tokens_of(part, hidden_size) for part in self.plan)
        self.places = _table(self.num_tokens, hidden_size)
        self.part_table = _table(len(self.plan), hidden_size) if len(self.plan) > 1 else None
        part_of = [index for index, part in enumerate(self.plan) for _ in range(part.tokens)]
        self.register_buffer("part_of", torch.tensor(part_of), persistent=False)

    part_of: Tensor

    @property
    def spec(self) -> dict[str, Any]:
        """The plan as JSON-able values; tokenizers with equal specs can load each other's weights."""
        return {
            "hidden_size": self.hidden_size,
            "tokens": self.num_tokens,
            "parts": [part.to_dict() for part in self.plan],
        }

    def forward(self, obs: Any) -> Tensor:
        """Embed batched tensors, nested like the space, as tokens [B, num_tokens, hidden_size].

        A categorical value outside its declared range counts as the nearest value inside, so that no
        index leaves its table; other numbers are not clipped. Does not synchronise with the device.

        Raises ValueError if obs is not nested and shaped like the space.
        """
        values: list[Any] = []
        map_space(lambda _, value: values.append(value), self.space, obs)
        embedded = [
            module(_checked(value, part))
            for value, part, module in zip(values, self.plan, self.parts, strict=True)
        ]
        content = embedded[0] if len(embedded) == 1 else torch.cat(embedded, 1)
        places = self.places.weight
        summed = content + places[1:]
        if self.part_table is not None:
            summed = summed + self.part_table(self.part_of)
        summands = 2 if self.part_table is None else 3
        # Tokens come first in memory, as the core's small blocks want them.
        summary = places[:1, None].expand(1, len(content), -1)
        tokens = torch.cat((summary, (summed * summands**-0.5).transpose(0, 1)))
        return (math.sqrt(self.hidden_size) * tokens).transpose(0, 1)

    def from_sb3(self, obs: Any) -> Any:
        """Invert SB3's `preprocess_obs(..., normalize_images=False)`, for `forward`.

        SB3 one-hot encodes Discrete and MultiDiscrete and converts the rest to float; the one-hot rows
        become integers again.
        """
        return map_space(_from_one_hot, self.space, obs)

    def get_extra_state(self) -> Tensor:
        """The spec as bytes in a tensor, which every format of state dicts can hold."""
        return torch.frombuffer(bytearray(json.dumps(self.spec).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Check a stored spec. Raises ValueError if it is damaged or, naming the part, different."""
        try:
            spec = parse_json(bytes(state.tolist()))
        except (TypeError, ValueError) as error:
            raise ValueError(f"the checkpoint's tokenizer has a damaged spec: {error!r}") from None
        try:
            _refuse_other(spec, self.spec)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"the checkpoint's tokenizer has a damaged spec: {error!r}") from None


def _from_one_hot(space: spaces.Space, value: Tensor) -> Tensor:
    if isinstance(space, spaces.Discrete):
        return value.reshape(len(value), -1).argmax(-1)  # SB3's buffers give [B, 1, n]
    if isinstance(space, spaces.MultiDiscrete):
        split = value.reshape(len(value), -1).split(np.ravel(space.nvec).tolist(), -1)
        return torch.stack([hot.argmax(-1) for hot in split], -1)
    return value


def _checked(value: Any, part: Part) -> Tensor:
    """The value of a part. Raises ValueError unless it is a tensor of the right shape."""
    if isinstance(value, Tensor) and value.ndim:
        shape = value.shape[1:]
        if part.kind == "text":  # cut or padded to length
            fits = len(shape) == 1
        else:  # SB3's buffers add an axis to a scalar
            fits = shape == part.shape or (part.shape == () and shape == (1,))
        if fits:
            return value
    where = f"part {part.name!r}" if part.path else "the observation"
    if not isinstance(value, Tensor):
        raise ValueError(
            f"{where} is a {type(value).__name__}, not a tensor: call to_tensors(space, obs) first"
        )
    wanted = ", ".join(["batch", *map(str, part.shape)])
    raise ValueError(f"{where} must have shape [{wanted}], got {list(value.shape)}")


def _table(rows: int, hidden_size: int) -> nn.Embedding:
    weight = truncated_normal_(torch.empty(rows, hidden_size), 1 / math.sqrt(hidden_size))
    return nn.Embedding(rows, hidden_size, _weight=weight)


def _refuse_other(checkpoint: dict[str, Any], ours: dict[str, Any]) -> None:
    """Raise ValueError naming the first difference between two specs, if there is one."""
    theirs, here = ({part["name"]: part for part in spec["parts"]} for spec in (checkpoint, ours))
    names = [name for name in {**theirs, **here} if theirs.get(name) != here.get(name)]
    if names:
        name = names[0]
        where = f"in part {name!r}" if name else "in the observation"
        what = _difference(theirs.get(name), here.get(name))
    elif [*theirs] != [*here]:
        where, what = "in the order of its parts", f"{[*theirs]}, here {[*here]}"
    elif checkpoint != ours:
        where, what = "in hidden_size", f"{checkpoint['hidden_size']}, here {ours['hidden_size']}"
    else:
        return
    raise ValueError(
        f"the checkpoint's tokenizer differs {where}: {what}; load it for the observation space and "
        f"with the options that it was trained with"
    )


def _difference(theirs: dict[str, Any] | None, here: dict[str, Any] | None) -> str:
    if theirs is None:
        return "missing in the checkpoint, present here"
    if here is None:
        return "present in the checkpoint, missing here"
    pairs = {key: (theirs.get(key), here.get(key)) for key in {**theirs, **here}}
    return ", ".join(
        f"{key} {shortened(str(a), 60)} (here {shortened(str(b), 60)})"
        for key, (a, b) in pairs.items()
        if a != b
    )
