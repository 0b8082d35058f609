"""How many tokens there may be, and what to do where there are more: in the user's own words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gymnasium import spaces

from hrm_rl.envs.plain import part_name

if TYPE_CHECKING:
    from hrm_rl.agents.tokenizer.plan import Part


def described(path: tuple[Any, ...], space: spaces.Space) -> str:
    """A part and its space, for messages, cut to about a line."""
    text = " ".join(str(space).split())
    text = text if len(text) <= 100 else text[:97] + "..."
    return f"part {part_name(path)!r}, {text}," if path else f"the observation, {text},"


def override(path: tuple[Any, ...], value: Any, option: str = "kinds") -> str:
    """How to set an option of one part, as the user would write it."""
    return f"{option}={{{part_name(path)!r}: {value!r}}}" if path else f"{option}={value!r}"


def fitting_patch(rows: int, columns: int, tokens: int) -> int:
    """The smallest square patch, pixels, that cuts a picture into at most `tokens`.

    One up to a quarter larger is preferred where it divides both sides, as nothing is padded then.
    """
    smallest = next(
        size
        for size in range(1, max(rows, columns) + 1)
        if -(-rows // size) * -(-columns // size) <= tokens
    )
    for size in range(smallest, smallest + smallest // 4 + 1):
        if rows % size == 0 and columns % size == 0:
            return size
    return smallest


def check_total(parts: Sequence["Part"], found: Sequence[spaces.Space], max_tokens: int) -> None:
    """Raises ValueError, with what would fit, where the parts make more tokens than there may be."""
    total = 1 + sum(part.tokens for part in parts)
    if total <= max_tokens:
        return
    part, space = max(zip(parts, found, strict=True), key=lambda pair: pair[0].tokens)
    room = max_tokens - (total - part.tokens)
    remedies = []
    if room > 0:
        if part.patch_size:
            size = fitting_patch(*part.sides, room)
            remedies.append(f"{override(part.path, size, 'patch_size')} would fit")
        if part.kind == "categorical" and part.order and not part.patch_size:
            remedies.append(f"{override(part.path, 'patches')} if it is a picture")
        if part.kind == "categorical" and room >= 32:
            remedies.append(f"{override(part.path, 'features')} to take it as numbers, in groups")
        if part.kind == "text":
            remedies.append(f"{override(part.path, f'text:{room}')} to read its beginning")
    remedies.append(f"max_tokens={total} to allow them")
    raise ValueError(
        f"{described(part.path, space)} takes {part.tokens} tokens as {part.kind!r}, which makes "
        f"{total} in all, over max_tokens={max_tokens}: {', or '.join(remedies)}"
    )
