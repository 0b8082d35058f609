"""Environments of the puzzle families, of ARC and of reasoning-gym."""

from collections.abc import Container
from typing import Any


def split_options(
    options: dict[str, Any], names: Container[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options with one of these names, and the others."""
    chosen = {name: value for name, value in options.items() if name in names}
    return chosen, {name: value for name, value in options.items() if name not in names}
