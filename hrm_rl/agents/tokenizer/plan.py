"""What every part of an observation space becomes: the kind of its tokens, how many, of what sizes.

Arithmetic on spaces, without tensors; `tokenizer_embed` makes modules of it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from hrm_rl.agents.tokenizer.limits import check_total, described, fitting_patch, override
from hrm_rl.envs.plain import grid_axes, is_picture, is_text, leaves, part_name, text_length

MAX_ROWS = 65_536
"""Rows of one part's tables; a part of more values is refused."""
VECTOR_TOKENS = 32
"""Tokens of a vector at most: above, consecutive features share one."""
PICTURE_TOKENS = 64
"""Patches of a picture at most, where the patch size is chosen here."""
WIDE = 1e6
"""A number whose bounds are further apart counts as unbounded."""


@dataclass(frozen=True)
class Part:
    """One Discrete, MultiDiscrete, MultiBinary, Box or string of a space, and its tokens."""

    path: tuple[Any, ...]
    """Keys and indices that lead to it."""
    shape: tuple[int, ...]
    """Of one observation."""
    kind: str
    """categorical, features, patches or text."""
    tokens: int
    low: tuple[float | None, ...]
    """Smallest values, a table's or a feature's each, or one for all; None: unbounded."""
    high: tuple[float | None, ...]
    """Largest values, likewise."""
    channels: int = 1
    """Values at a cell of a grid or a pixel."""
    order: tuple[int, ...] = ()
    """The axes of `shape` as rows, columns, then those of the channels; () where it is no grid."""
    patch_size: int = 0
    """Side of a picture's square patches, pixels, or of a grid's, cells; 0: not cut into patches."""

    @property
    def name(self) -> str:
        return part_name(self.path)

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of a grid."""
        return self.shape[self.order[0]], self.shape[self.order[1]]

    def to_dict(self) -> dict[str, Any]:
        """What the weights' meaning depends on; the order of the axes and the dtype are not of it."""
        told: dict[str, Any] = {"name": self.name, "kind": self.kind, "tokens": self.tokens}
        if self.kind != "text":
            told |= {"low": list(self.low), "high": list(self.high)}
        if self.kind in ("categorical", "patches"):
            told["channels"] = self.channels
        if self.kind == "features":
            told["features"] = math.prod(self.shape)
        if self.patch_size:
            told |= {"sides": list(self.sides), "patch_size": self.patch_size}
        return told


def plan(
    space: spaces.Space,
    kinds: Mapping[str, str] | str | None,
    patch_size: Mapping[str, int] | int | None,
    max_tokens: int,
) -> tuple[Part, ...]:
    """The parts of a space, in order. Raises ValueError naming the part, the space and a remedy."""
    found = list(leaves(space))
    if not found:
        raise ValueError(f"{space} has no parts: there is nothing to observe")
    names = [part_name(path) for path, _ in found]
    if len(set(names)) < len(names):
        raise ValueError(f"two parts of {names} have one name: rename a key in a wrapper")
    kind_of = _by_name("kinds", kinds, names)
    size_of = _by_name("patch_size", patch_size, names)

    by_name = isinstance(patch_size, Mapping)

    def parts_with(picture_tokens: int) -> list[Part]:
        return [
            _part(path, inner, kind_of.get(name), size_of.get(name), by_name, picture_tokens)
            for name, (path, inner) in zip(names, found, strict=True)
        ]

    parts = parts_with(PICTURE_TOKENS)
    pictures = [part for part in parts if part.kind == "patches" and part.name not in size_of]
    rest = 1 + sum(part.tokens for part in parts if part not in pictures)
    if pictures and max_tokens - rest >= len(pictures):  # what the others leave, in equal shares
        parts = parts_with(min(PICTURE_TOKENS, (max_tokens - rest) // len(pictures)))
    for part in parts:
        if by_name and part.name in size_of and not part.patch_size:
            raise ValueError(
                f"patch_size names part {part.name!r}, which is taken as {part.kind!r}: "
                f"leave it out, or ask for {override(part.path, 'patches')}"
            )
    check_total(parts, [inner for _, inner in found], max_tokens)
    return tuple(parts)


def _by_name(option: str, value: Any, names: list[str]) -> dict[str, Any]:
    """An option as a dict by parts' names. Raises ValueError for a name that none has."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    for name in value:
        if name not in names:
            raise ValueError(f"{option} names part {name!r}; the parts are {names}")
    return dict(value)


def _part(
    path: tuple[Any, ...],
    space: spaces.Space,
    kind: str | None,
    size: int | None,
    size_by_name: bool,
    patches: int,
) -> Part:
    length: int | None = None
    if isinstance(kind, str) and kind.startswith("text:") and kind[5:].isdecimal():
        kind, length = "text", int(kind[5:])
    allowed = _kinds_of(path, space)
    if kind is not None and kind not in allowed:
        raise ValueError(
            f"kind {kind!r} is not for a {type(space).__name__}: {described(path, space)} "
            f"can be {' or '.join(map(repr, allowed))}"
        )
    if is_text(space):
        length = text_length(space) if length is None else length
        if length < 1:
            raise ValueError(f"{described(path, space)} has no bytes to read; drop it in a wrapper")
        return Part(path, (length,), "text", length, (0,), (255,))
    assert space.shape is not None
    if math.prod(space.shape) == 0:
        raise ValueError(f"{described(path, space)} is empty; drop it in a wrapper")
    if isinstance(space, spaces.Box):
        kind = kind or _kind_of_box(space)
        if kind == "categorical":
            return _grid(path, space, size if size_by_name else None)
        if kind == "patches":
            return _picture(path, space, size, patches)
        return _vector(path, space.shape, space.low, space.high)
    if isinstance(space, spaces.MultiBinary):
        if kind == "features":
            return _vector(path, space.shape, np.zeros(1), np.ones(1))
        return Part(path, space.shape, "categorical", math.prod(space.shape), (0,), (1,))
    assert isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
    return _multi_discrete(path, space, kind or "categorical")


def _kinds_of(path: tuple[Any, ...], space: spaces.Space) -> tuple[str, ...]:
    """What a space can be. Raises ValueError where that is nothing."""
    if is_text(space):
        return ("text", "text:64")
    if isinstance(space, spaces.Box):
        return ("categorical", "features", "patches")
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        return ("categorical", "features")
    ragged = isinstance(space, spaces.Sequence | spaces.Graph | spaces.OneOf)
    raise ValueError(
        f"{described(path, space)} {'is ragged' if ragged else 'cannot be taken'}: no fixed number of "
        f"tokens fits a {type(space).__name__}; pad it to a Box of a fixed shape in a wrapper, or drop it"
    )


def _kind_of_box(space: spaces.Box) -> str:
    whole = space.dtype.kind in "iub"
    small = whole and int(space.high.max()) - int(space.low.min()) < 256
    # Of two axes only uint8 is a picture: other such arrays are more often matrices of features.
    like_pixels = space.dtype == np.uint8 or (not small and len(space.shape) > 2)
    if like_pixels and is_picture(space.shape):
        return "patches"
    return "categorical" if small else "features"


def _multi_discrete(
    path: tuple[Any, ...], space: spaces.Discrete | spaces.MultiDiscrete, kind: str
) -> Part:
    """A token a component, each with a table of its own."""
    assert space.shape is not None
    nvec = space.n if isinstance(space, spaces.Discrete) else space.nvec
    sizes = [int(n) for n in np.ravel(nvec)]
    low = [int(start) for start in np.ravel(space.start)]
    high = [start + n - 1 for start, n in zip(low, sizes, strict=True)]
    if kind == "features":
        return _vector(path, space.shape, np.array(low, float), np.array(high, float))
    _check_rows(path, space, sum(sizes))
    return Part(path, space.shape, "categorical", len(sizes), tuple(low), tuple(high))


def _grid(path: tuple[Any, ...], space: spaces.Box, size: int | None) -> Part:
    """A token a cell, all of the same table; of a grid with channels, a table a channel.

    With a size, a token a square patch of so many cells a side; tables are of the place in it, too.
    """
    bounds = np.stack([space.low, space.high])
    if not (np.isfinite(bounds).all() and (bounds == np.round(bounds)).all()):
        raise ValueError(
            f"{described(path, space)} has no whole bounds, so it cannot be 'categorical'; leave it "
            f"to be 'features', or declare an integer Box in a wrapper"
        )
    grid = len(space.shape) in (3, 4) or (len(space.shape) == 2 and size is not None)
    order = grid_axes(space.shape) if grid else ()
    channels = math.prod(space.shape[axis] for axis in order[2:])
    if order:
        bounds = bounds.transpose(0, *(1 + axis for axis in order))
    bounds = bounds.reshape(2, -1, channels)
    low, high = ([int(v) for v in bound] for bound in (bounds[0].min(0), bounds[1].max(0)))
    tables = sum(b - a + 1 for a, b in zip(low, high, strict=True))
    cells = math.prod(space.shape) // channels
    if order and size is not None:
        _check_size(path, space, size)
        tables *= size**2
        cells = math.prod(-(-space.shape[axis] // size) for axis in order[:2])
    _check_rows(path, space, tables)
    return Part(
        path, space.shape, "categorical", cells, tuple(low), tuple(high), channels, order,
        size if order and size is not None else 0,
    )  # fmt: skip


def _check_size(path: tuple[Any, ...], space: spaces.Space, size: Any) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(
            f"patch_size must be an integer >= 1, got {size!r} for {described(path, space)[:-1]}"
        )


def _check_rows(path: tuple[Any, ...], space: spaces.Space, rows: int) -> None:
    if rows > MAX_ROWS:
        raise ValueError(
            f"{described(path, space)} has {rows:,} values, and a table has {MAX_ROWS:,} at most; "
            f"take them as numbers with {override(path, 'features')}, or bin them in a wrapper"
        )


def _vector(
    path: tuple[Any, ...], shape: tuple[int, ...], low: np.ndarray, high: np.ndarray
) -> Part:
    """A token a feature, or a group of consecutive ones."""
    count = math.prod(shape)
    group = -(-count // VECTOR_TOKENS)
    return Part(path, shape, "features", -(-count // group), *_bounds(low, high))


def _bounds(low: np.ndarray, high: np.ndarray) -> tuple[tuple, tuple]:
    """Bounds of numbers, None where they say nothing; one pair where all are alike."""
    low, high = (np.ravel(bound).astype(np.float64) for bound in (low, high))
    with np.errstate(over="ignore", invalid="ignore"):
        known = high - low <= WIDE
    if (known == known[0]).all() and (not known[0] or np.ptp(low) == np.ptp(high) == 0):
        low, high, known = low[:1], high[:1], known[:1]
    told = [
        (float(a), float(b)) if k else (None, None)
        for a, b, k in zip(low, high, known, strict=True)
    ]
    return tuple(a for a, _ in told), tuple(b for _, b in told)


def _picture(path: tuple[Any, ...], space: spaces.Box, size: int | None, patches: int) -> Part:
    """A token a square patch; where no size is given, `patches` or fewer."""
    shape = space.shape
    if len(shape) not in (2, 3, 4):
        raise ValueError(
            f"{described(path, space)} has {len(shape)} axes, and a picture 2 (rows, columns), 3 (with "
            f"channels) or 4 (stacked); take it as numbers with {override(path, 'features')}"
        )
    order = grid_axes(shape)
    rows, columns = shape[order[0]], shape[order[1]]
    if size is None:
        size = fitting_patch(rows, columns, patches)
    _check_size(path, space, size)
    # One scale for the whole picture, so that its patches can share a projection.
    low, high = _bounds(space.low.min(), space.high.max())
    tokens = -(-rows // size) * -(-columns // size)
    channels = math.prod(shape[axis] for axis in order[2:])
    return Part(path, shape, "patches", tokens, low, high, channels, order, size)
