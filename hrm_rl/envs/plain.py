"""PlainObservation: observations for tools without Tuples, strings or nesting, such as Stable-Baselines3."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

PICTURE_SIDE = 32
"""A uint8 Box counts as a picture if both sides are at least this long, else as a grid."""
UNDECLARED_TEXT_LENGTH = 128
"""Bytes read of strings whose space declares no length."""

Convert = Callable[[Any], Any]


class PlainObservation(gym.ObservationWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Convert observations to one array, or one flat Dict of arrays, without strings.

    - Nested Dicts and Tuples become one Dict; a part is named by its path: "camera/front", "0".
    - A string becomes a uint8 Box of its UTF-8 bytes, each plus 1, padded with zeros.
    - Discrete and MultiDiscrete start at 0; MultiDiscrete and scalar Boxes get one axis.
    - A small uint8 grid [rows, columns, channels] becomes int16: SB3 takes uint8 from 0 to 255 for a
      picture, moves its channels first and divides it by 255. For MiniGrid's symbolic image the Box
      also declares the ids that exist, so that their tables stay small.

    Other parts pass unchanged.

    Examples:
        >>> env = PlainObservation(gym.make("MiniGrid-MemoryS7-v0"), drop=("mission",))
        >>> model = PPO("MultiInputPolicy", env)

    Args:
        env: a single environment.
        drop: names of parts to leave out, or of Dicts and Tuples to leave out whole.

    Raises:
        ValueError: a name in `drop` that no part has, no part left, a space without a fixed shape (drop
            it), or two parts of the same name.
    """

    def __init__(self, env: gym.Env, drop: Sequence[str] | str = ()) -> None:
        drop = (drop,) if isinstance(drop, str) else tuple(drop)
        gym.utils.RecordConstructorArgs.__init__(self, drop=drop)
        gym.ObservationWrapper.__init__(self, env)
        found = [
            (path, space, {part_name(path[:n]) for n in range(1, len(path) + 1)})
            for path, space in leaves(env.observation_space)
        ]
        known = set().union(*(names for *_, names in found))
        for name in drop:
            if name not in known:
                raise ValueError(f"drop names part {name!r}; the parts are {sorted(known)}")
        kept = [(path, space) for path, space, names in found if names.isdisjoint(drop)]
        if not kept:
            raise ValueError(f"nothing is left of {env.observation_space} without {list(drop)}")
        self._ids = _minigrid_ids(env)
        self._parts: dict[str, tuple[tuple[Any, ...], Convert]] = {}
        plain: dict[str, spaces.Space] = {}
        for path, space in kept:
            name = part_name(path)
            if name in plain:
                raise ValueError(f"two parts are named {name!r}: rename one in a wrapper")
            plain[name], convert = self._plain(name, space)
            self._parts[name] = (path, convert)
        self._bare = not isinstance(env.observation_space, spaces.Dict | spaces.Tuple)
        self.observation_space = plain[""] if self._bare else spaces.Dict(plain)

    def observation(self, observation: Any) -> Any:
        """Convert an observation of the environment to `observation_space`."""
        plain = {}
        for name, (path, convert) in self._parts.items():
            value = observation
            for key in path:
                value = value[key]
            plain[name] = convert(value)
        return plain[""] if self._bare else plain

    def _plain(self, name: str, space: spaces.Space) -> tuple[spaces.Space, Convert]:
        """The plain space of a part, and the conversion of its values."""
        if is_text(space):
            length = text_length(space)
            return spaces.Box(0, 255, (length,), np.uint8), partial(text_to_bytes, length=length)
        match space:
            case spaces.Box():
                return self._plain_box(space)
            case spaces.MultiBinary() | spaces.Discrete(start=0):
                return space, _same
            case spaces.Discrete():
                return spaces.Discrete(int(space.n)), partial(_shifted, start=space.start)
            case spaces.MultiDiscrete() if space.nvec.ndim == 1 and not space.start.any():
                return space, _same
            case spaces.MultiDiscrete():
                plain = spaces.MultiDiscrete(space.nvec.ravel(), dtype=space.dtype.type)
                return plain, partial(_flat_shifted, start=space.start)
        where = f"part {name!r}, {space}," if name else f"the observation, {space},"
        raise ValueError(
            f"{where} has no fixed shape: pad it to a Box in a wrapper"
            + (f", or drop it with drop=({name!r},)" if name else "")
        )

    def _plain_box(self, space: spaces.Box) -> tuple[spaces.Space, Convert]:
        if not space.shape:
            low, high = space.low.reshape(1), space.high.reshape(1)
            return spaces.Box(low, high, dtype=space.dtype.type), partial(np.reshape, shape=(1,))
        if space.dtype != np.uint8 or len(space.shape) != 3 or is_picture(space.shape):
            return space, _same
        high = space.high.astype(np.int16)
        if self._ids is not None and space.shape[-1] == len(self._ids):
            high = np.minimum(high, self._ids)
        low = space.low.astype(np.int16)
        return spaces.Box(low, high.astype(np.int16), dtype=np.int16), partial(np.asarray, dtype=np.int16)


# --- strings ------------------------------------------------------------------------------------


def is_text(space: spaces.Space) -> bool:
    """Whether observations are strings: Text, or a space like MiniGrid's MissionSpace."""
    return isinstance(space, spaces.Text) or (space.dtype is not None and space.dtype.kind == "U")


def text_length(space: spaces.Space) -> int:
    """Number of bytes to read of a space's strings: their declared maximum, else 128."""
    if isinstance(space, spaces.Text):
        widest = max((_byte_count(letter) for letter in space.character_set), default=1)
        return int(space.max_length) * widest
    # MiniGrid's space declares the parts of its sentences; BabyAI's subclass does not, so only the class
    # itself counts. It is matched by name, since MiniGrid may not be installed.
    if type(space).__name__ == "MissionSpace":
        words: Any = getattr(space, "ordered_placeholders", None) or []
        mission: Any = getattr(space, "mission_func", None)
        return _byte_count(mission(*(max(choices, key=_byte_count) for choices in words)))
    return UNDECLARED_TEXT_LENGTH


def text_to_bytes(text: str, length: int) -> np.ndarray:
    """The UTF-8 bytes of a string, each plus 1, cut or padded with zeros to uint8 [length].

    UTF-8 has no byte above 0xF4, so the sums fit into uint8 and 0 stands for padding alone.
    """
    encoded = np.frombuffer(text.encode("utf-8", "replace")[:length], np.uint8)
    array = np.zeros(length, np.uint8)
    array[: len(encoded)] = encoded + 1
    return array


def _byte_count(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


# --- spaces and their parts ---------------------------------------------------------------------


def leaves(space: spaces.Space, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple, Any]]:
    """Yield the spaces inside Dicts and Tuples, in order, each with the keys that lead to it."""
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for index, inner in enumerate(space.spaces):
            yield from leaves(inner, (*path, index))
    else:
        yield path, space


def map_space(
    function: Callable[[Any, Any], Any],
    space: spaces.Space,
    values: Any,
    what: str = "the observation",
    exact: bool = False,
) -> Any:
    """Apply `function(space, value)` at every leaf of a space; the results are nested like the space.

    `what` names the values in messages. Raises ValueError for values that are not nested like the space; if
    `exact`, also for further keys of Dicts.
    """
    if isinstance(space, spaces.Dict):
        keys = space.spaces.keys()
        if not isinstance(values, dict) or not values.keys() >= keys or (exact and values.keys() > keys):
            raise ValueError(f"{what} must be a dict of {list(keys)}, got {_nesting(values)}")
        inner = space.spaces.items()
        return {key: map_space(function, part, values[key], what, exact) for key, part in inner}
    if isinstance(space, spaces.Tuple):
        if not isinstance(values, tuple | list) or len(values) != len(space.spaces):
            wanted = f"a tuple of {len(space.spaces)} parts"
            raise ValueError(f"{what} must be {wanted}, got {_nesting(values)}")
        pairs = zip(space.spaces, values, strict=True)
        return tuple(map_space(function, part, value, what, exact) for part, value in pairs)
    return function(space, values)


def _nesting(values: Any) -> str:
    if isinstance(values, dict):
        return f"a dict of {list(values)}"
    return f"{len(values)} parts" if isinstance(values, tuple | list) else type(values).__name__


def part_name(path: tuple[Any, ...]) -> str:
    """The name of a part: its keys with slashes between; "" for a space without parts."""
    return "/".join(map(str, path))


def grid_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a shape of 2, 3 or 4 as rows, columns, channels; of four, the first is a stack of frames.

    SB3 moves the channels of pictures first, so they may be on the first or last axis: on the one that
    leaves a square, else on the smaller, else on the last.
    """
    if len(shape) == 2:
        return (0, 1)
    first, middle, last = shape[-3:]
    square_if_first, square_if_last = middle == last, first == middle
    channels_first = first < last if square_if_first == square_if_last else square_if_first
    if len(shape) == 3:
        return (1, 2, 0) if channels_first else (0, 1, 2)
    return (2, 3, 0, 1) if channels_first else (1, 2, 0, 3)


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape is as large as a picture, rather than a grid."""
    if len(shape) not in (2, 3, 4) or not math.prod(shape):
        return False
    rows, columns = grid_axes(shape)[:2]
    return min(shape[rows], shape[columns]) >= PICTURE_SIDE


# --- values -------------------------------------------------------------------------------------


def _same(value: Any) -> Any:
    return value


def _shifted(value: Any, start: int) -> int:
    return int(value) - int(start)


def _flat_shifted(value: np.ndarray, start: np.ndarray) -> np.ndarray:
    return (value - start).ravel().astype(start.dtype)


_KEEPS_IDS = (
    *("ActionBonus", "DirectionObsWrapper", "FullyObsWrapper", "ImgObsWrapper", "NoDeath"),
    *("PositionBonus", "ReseedWrapper", "StochasticActionWrapper", "ViewSizeWrapper"),
)
"""MiniGrid's wrappers that leave an image of object, colour and state ids."""


def _minigrid_ids(env: gym.Env) -> np.ndarray | None:
    """The largest object, colour and state id of MiniGrid's image; None for other environments."""
    if not any(base.__module__.startswith("minigrid.") for base in type(env.unwrapped).__mro__):
        return None
    layer: Any = env
    while isinstance(layer, gym.Wrapper):
        made_by_minigrid = type(layer).__module__.startswith("minigrid.")
        if made_by_minigrid and type(layer).__name__ not in _KEEPS_IDS:
            return None
        layer = layer.env
    from minigrid.core import constants

    # The state of the agent's cell is its direction, 0 to 3.
    states = max(3, *constants.STATE_TO_IDX.values())
    largest = [max(constants.OBJECT_TO_IDX.values()), max(constants.COLOR_TO_IDX.values()), states]
    return np.array(largest, np.int16)
