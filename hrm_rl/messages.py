"""Phrases that messages share."""

import difflib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


def shortened(text: str, length: int) -> str:
    """The text on one line; a longer one is cut to `length` characters, the last three "..."."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 3] + "..."


def also_valid(figures: Mapping[str, float]) -> str:
    """The phrase ", 40.0 % valid" if some of the answers are right but not the stored ones; else ""."""
    valid = figures["valid_accuracy"]
    return f", {100 * valid:.1f} % valid" if valid != figures["exact_accuracy"] else ""


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> str:
    """The question "did you mean 'sudoku'?" for a misspelt name; "" where nothing known is near.

    Args:
        name: what was given.
        known: the accepted names.
        most: name at most this many candidates.
        cutoff: similarity from which a name is near, 0 to 1 (see `difflib.get_close_matches`).
    """
    return meant(difflib.get_close_matches(name, list(known), n=most, cutoff=cutoff))


def meant(names: Sequence[str]) -> str:
    """The question "did you mean 'sudoku'?"; "" without names."""
    return f"did you mean {' or '.join(map(repr, names))}?" if names else ""


def pip_install(extra: str) -> str:
    """The command that installs an extra, of a checkout where the package lies in one."""
    root = Path(__file__).resolve().parents[1]
    checkout = (root / "pyproject.toml").is_file()
    return f'pip install -e "{root}[{extra}]"' if checkout else f'pip install "hrm_rl[{extra}]"'


def as_path(name: str, value: Any) -> Path:
    """The argument as a path. Raises ValueError naming it."""
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"{name} must be a path, got {value!r}")
    return Path(value)


def note_fewer(found: int, wanted: int | None, where: object) -> None:
    """Warn if there are fewer puzzles than were wanted; all of them are used."""
    if wanted is not None and found < wanted:
        _log.warning("%s has %s puzzles, fewer than %s: all are used.", where, f"{found:,}", f"{wanted:,}")
