"""Plan the tokens of an observation space: for each part their kind, number and sizes.

This is arithmetic on spaces, without tensors; `tokenizer.embed` makes modules of the plan.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from hrm_rl.agents.tokenizer.part import Part, Path, described, override
from hrm_rl.envs.plain import grid_axes, is_picture, is_text, leaves, part_name, text_length

MAX_ROWS = 65_536
"""Rows in the tables of one part; a part with more values is refused."""
VECTOR_TOKENS = 32
"""Tokens of a vector at most: in a longer one consecutive features share a token."""
PICTURE_TOKENS = 64
"""Patches of a picture at most, unless the user sets the patch size."""
WIDE = 1e6
"""A number whose bounds are further apart counts as unbounded."""


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
        raise ValueError(f"two parts of {names} have the same name: rename a key in a wrapper")
    kind_of = _by_name("kinds", kinds, names)
    size_of = _by_name("patch_size", patch_size, names)
    named = size_of if isinstance(patch_size, Mapping) else {}

    def parts_with(picture_tokens: int) -> list[Part]:
        return [
            _part(path, inner, kind_of.get(name), size_of.get(name), name in named, picture_tokens)
            for name, (path, inner) in zip(names, found, strict=True)
        ]

    parts = parts_with(PICTURE_TOKENS)
    pictures = [part for part in parts if part.kind == "patches" and part.name not in size_of]
    rest = 1 + sum(part.tokens for part in parts if part not in pictures)
    if pictures and max_tokens - rest >= len(pictures):  # pictures share what the others leave
        parts = parts_with(min(PICTURE_TOKENS, (max_tokens - rest) // len(pictures)))
    for part in parts:
        if part.name in named and not part.patch_size:
            raise ValueError(
                f"patch_size names part {part.name!r}, which is read as {part.kind!r}: "
                f"remove it, or set {override(part.path, 'patches')}"
            )
    _check_total(parts, [inner for _, inner in found], max_tokens)
    return tuple(parts)


def _check_total(parts: list[Part], found: list[spaces.Space], max_tokens: int) -> None:
    """Raise ValueError, naming the largest part and what would fit, if there are too many tokens."""
    total = 1 + sum(part.tokens for part in parts)
    if total <= max_tokens:
        return
    part, space = max(zip(parts, found, strict=True), key=lambda pair: pair[0].tokens)
    remedies = [*_remedies(part, max_tokens - (total - part.tokens)), f"max_tokens={total}"]
    raise ValueError(
        f"{described(part.path, space)} takes {part.tokens} tokens as {part.kind!r}, which makes "
        f"{total} in all, over max_tokens={max_tokens}; set {', or '.join(remedies)}"
    )


def _remedies(part: Part, room: int) -> Iterator[str]:
    """Arguments that bring a part down to `room` tokens."""
    if room < 1:
        return
    if part.patch_size:
        yield override(part.path, _fitting_patch(*part.sides, room), "patch_size")
    if part.kind == "categorical" and part.order and not part.patch_size:
        yield f"{override(part.path, 'patches')} if it is a picture"
    if part.kind == "categorical" and room >= 32:
        yield f"{override(part.path, 'features')} to read it as numbers, in groups"
    if part.kind == "text":
        yield f"{override(part.path, f'text:{room}')} to read its beginning"


def _fitting_patch(rows: int, columns: int, tokens: int) -> int:
    """The smallest square patch, in pixels, that cuts a picture into at most `tokens`.

    A patch up to a quarter larger is preferred if it divides both sides, since it needs no padding.
    """
    sizes = range(1, max(rows, columns) + 1)
    smallest = next(s for s in sizes if -(-rows // s) * -(-columns // s) <= tokens)
    near = range(smallest, smallest + smallest // 4 + 1)
    return next((s for s in near if rows % s == 0 and columns % s == 0), smallest)


def _by_name(option: str, value: Any, names: list[str]) -> dict[str, Any]:
    """An option as a dict from part names. Raises ValueError for a name that no part has."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    for name in value:
        if name not in names:
            raise ValueError(f"{option} names part {name!r}; the parts are {names}")
    return dict(value)


def _part(
    path: Path, space: spaces.Space, kind: str | None, size: int | None, named: bool, patches: int
) -> Part:
    """Plan one part; `named`: its patch size was set by name, which cuts grids of categories too."""
    length: int | None = None
    if isinstance(kind, str) and kind.startswith("text:") and kind[5:].isdecimal():
        kind, length = "text", int(kind[5:])
    allowed = _kinds_of(path, space)
    if kind is not None and kind not in allowed:
        raise ValueError(
            f"a {type(space).__name__} cannot be read as {kind!r}: {described(path, space)} "
            f"can be {' or '.join(map(repr, allowed))}"
        )
    if is_text(space):
        return _text(path, space, length)
    assert space.shape is not None
    if math.prod(space.shape) == 0:
        raise ValueError(f"{described(path, space)} is empty; drop it in a wrapper")
    if isinstance(space, spaces.Box):
        kind = kind or _kind_of_box(space)
        if kind == "categorical":
            return _grid(path, space, size if named else None)
        if kind == "patches":
            return _picture(path, space, size, patches)
        return _vector(path, space.shape, space.low, space.high)
    if isinstance(space, spaces.MultiBinary):
        if kind == "features":
            return _vector(path, space.shape, np.zeros(1), np.ones(1))
        return Part(path, space.shape, "categorical", math.prod(space.shape), (0,), (1,))
    assert isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
    return _multi_discrete(path, space, kind or "categorical")


def _text(path: Path, space: spaces.Space, length: int | None) -> Part:
    """A token for each of the first `length` bytes; by default for as many as the space declares."""
    length = text_length(space) if length is None else length
    if length < 1:
        raise ValueError(f"{described(path, space)} has no bytes to read; drop it in a wrapper")
    return Part(path, (length,), "text", length, (0,), (255,))


def _kinds_of(path: Path, space: spaces.Space) -> tuple[str, ...]:
    """The kinds of tokens that a space allows. Raises ValueError if there are none."""
    if is_text(space):
        return ("text", "text:64")
    if isinstance(space, spaces.Box):
        return ("categorical", "features", "patches")
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        return ("categorical", "features")
    ragged = isinstance(space, spaces.Sequence | spaces.Graph | spaces.OneOf)
    raise ValueError(
        f"{described(path, space)} {'is ragged' if ragged else 'cannot be read'}: a "
        f"{type(space).__name__} has no fixed number of tokens; pad it to a Box of a fixed shape in a "
        f"wrapper, or drop it"
    )


def _kind_of_box(space: spaces.Box) -> str:
    whole = space.dtype.kind in "iub"
    small = whole and int(space.high.max()) - int(space.low.min()) < 256
    # With two axes only uint8 is a picture: other such arrays are usually matrices of features.
    like_pixels = space.dtype == np.uint8 or (not small and len(space.shape) > 2)
    if like_pixels and is_picture(space.shape):
        return "patches"
    return "categorical" if small else "features"


def _multi_discrete(path: Path, space: spaces.Discrete | spaces.MultiDiscrete, kind: str) -> Part:
    """One token for each component, each with its own table."""
    assert space.shape is not None
    sizes = np.ravel(space.n if isinstance(space, spaces.Discrete) else space.nvec)
    low, high = np.ravel(space.start), np.ravel(space.start) + sizes - 1
    if kind == "features":
        return _vector(path, space.shape, low, high)
    _check_rows(path, space, int(sizes.sum()))
    bounds = tuple(low.tolist()), tuple(high.tolist())
    return Part(path, space.shape, "categorical", len(sizes), *bounds)


def _grid(path: Path, space: spaces.Box, size: int | None) -> Part:
    """One token for each cell, from one table for each channel.

    With a size, one token for each square patch of cells, from a table for each place in it and channel.
    """
    bounds = np.stack([space.low, space.high])
    if not (np.isfinite(bounds).all() and (bounds == np.round(bounds)).all()):
        raise ValueError(
            f"{described(path, space)} has no whole bounds, so it cannot be read as 'categorical'; read it "
            f"as 'features', or declare an integer Box in a wrapper"
        )
    axes = len(space.shape)
    order = grid_axes(space.shape) if axes in (3, 4) or (axes == 2 and size is not None) else ()
    channels = math.prod(space.shape[axis] for axis in order[2:])
    if order:
        bounds = bounds.transpose(0, *(1 + axis for axis in order))
    bounds = bounds.reshape(2, -1, channels)
    low, high = bounds[0].min(0).astype(int).tolist(), bounds[1].max(0).astype(int).tolist()
    tables = sum(high) - sum(low) + channels
    cells = math.prod(space.shape) // channels
    patch = 0
    if order and size is not None:
        _check_size(path, space, size)
        patch, tables = size, tables * size**2
        cells = math.prod(-(-space.shape[axis] // size) for axis in order[:2])
    _check_rows(path, space, tables)
    return Part(path, space.shape, "categorical", cells, tuple(low), tuple(high), channels, order, patch)


def _check_size(path: Path, space: spaces.Space, size: Any) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(
            f"patch_size must be an integer >= 1, got {size!r} for {described(path, space)[:-1]}"
        )


def _check_rows(path: Path, space: spaces.Space, rows: int) -> None:
    if rows > MAX_ROWS:
        raise ValueError(
            f"{described(path, space)} has {rows:,} values, and a table has at most {MAX_ROWS:,} rows; "
            f"read them as numbers with {override(path, 'features')}, or bin them in a wrapper"
        )


def _vector(path: Path, shape: tuple[int, ...], low: np.ndarray, high: np.ndarray) -> Part:
    """One token for each feature, or for each group of consecutive features."""
    count = math.prod(shape)
    group = -(-count // VECTOR_TOKENS)
    return Part(path, shape, "features", -(-count // group), *_bounds(low, high))


def _bounds(low: np.ndarray, high: np.ndarray) -> tuple[tuple, tuple]:
    """Bounds of numbers, None for those that count as unbounded; one pair if all are alike."""
    low, high = (np.ravel(bound).astype(np.float64) for bound in (low, high))
    with np.errstate(over="ignore", invalid="ignore"):
        known = high - low <= WIDE
    if (known == known[0]).all() and (not known[0] or np.ptp(low) == np.ptp(high) == 0):
        low, high, known = low[:1], high[:1], known[:1]
    pairs = [(float(a), float(b)) if k else (None, None) for a, b, k in zip(low, high, known, strict=True)]
    return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)


def _picture(path: Path, space: spaces.Box, size: int | None, patches: int) -> Part:
    """One token for each square patch; without a given size at most `patches` of them."""
    shape = space.shape
    if len(shape) not in (2, 3, 4):
        raise ValueError(
            f"{described(path, space)} has {len(shape)} axes; a picture has 2 (rows, columns), 3 (with "
            f"channels) or 4 (stacked): read it as numbers with {override(path, 'features')}"
        )
    order = grid_axes(shape)
    rows, columns = shape[order[0]], shape[order[1]]
    if size is None:
        size = _fitting_patch(rows, columns, patches)
    _check_size(path, space, size)
    # One scale for the whole picture, since its patches share a projection.
    low, high = _bounds(space.low.min(), space.high.max())
    tokens = -(-rows // size) * -(-columns // size)
    channels = math.prod(shape[axis] for axis in order[2:])
    return Part(path, shape, "patches", tokens, low, high, channels, order, size)
