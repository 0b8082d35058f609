"""The limit on the number of tokens, and the remedies for a space that exceeds it."""

from collections.abc import Iterator, Sequence

from gymnasium import spaces

from hrm_rl.agents.tokenizer.part import Part, described, override


def fitting_patch(rows: int, columns: int, tokens: int) -> int:
    """The smallest square patch, in pixels, that cuts a picture into at most `tokens`.

    A patch up to a quarter larger is preferred if it divides both sides, since it needs no padding.
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


def check_total(parts: Sequence[Part], found: Sequence[spaces.Space], max_tokens: int) -> None:
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
        yield override(part.path, fitting_patch(*part.sides, room), "patch_size")
    if part.kind == "categorical" and part.order and not part.patch_size:
        yield f"{override(part.path, 'patches')} if it is a picture"
    if part.kind == "categorical" and room >= 32:
        yield f"{override(part.path, 'features')} to read it as numbers, in groups"
    if part.kind == "text":
        yield f"{override(part.path, f'text:{room}')} to read its beginning"
