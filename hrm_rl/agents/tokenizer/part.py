"""One part of an observation space: the kind, number and sizes of its tokens."""

import math
from dataclasses import dataclass
from typing import Any

from gymnasium import spaces

from hrm_rl.envs.plain import part_name
from hrm_rl.messages import shortened

Path = tuple[Any, ...]
"""Keys and indices that lead to a part; () for a space that is itself the part."""


@dataclass(frozen=True)
class Part:
    """One Discrete, MultiDiscrete, MultiBinary, Box or string of a space, and its tokens."""

    path: Path
    shape: tuple[int, ...]
    """Shape of one observation."""
    kind: str
    """categorical, features, patches or text."""
    tokens: int
    low: tuple[float | None, ...]
    """Smallest values, one for each table or feature or one for all; None: unbounded."""
    high: tuple[float | None, ...]
    channels: int = 1
    """Values in a cell of a grid or in a pixel."""
    order: tuple[int, ...] = ()
    """Axes of `shape` as rows, columns, then the channels; () if the part is not a grid."""
    patch_size: int = 0
    """Side of the square patches, in pixels of a picture or cells of a grid; 0: no patches."""

    @property
    def name(self) -> str:
        return part_name(self.path)

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of a grid."""
        return self.shape[self.order[0]], self.shape[self.order[1]]

    def to_dict(self) -> dict[str, Any]:
        """The fields that the meaning of the weights depends on: not the order of axes, not the dtype."""
        fields: dict[str, Any] = {"name": self.name, "kind": self.kind, "tokens": self.tokens}
        if self.kind != "text":
            fields |= {"low": list(self.low), "high": list(self.high)}
        if self.kind in ("categorical", "patches"):
            fields["channels"] = self.channels
        if self.kind == "features":
            fields["features"] = math.prod(self.shape)
        if self.patch_size:
            fields |= {"sides": list(self.sides), "patch_size": self.patch_size}
        return fields


def described(path: Path, space: spaces.Space) -> str:
    """A part and its space for messages, cut to about a line."""
    text = shortened(str(space), 100)
    return f"part {part_name(path)!r}, {text}," if path else f"the observation, {text},"


def override(path: Path, value: Any, option: str = "kinds") -> str:
    """The argument that sets an option of one part, as the user would write it."""
    return f"{option}={{{part_name(path)!r}: {value!r}}}" if path else f"{option}={value!r}"
