"""Puzzle families: generate, tokenise, check, augment, rate, draw. NumPy and numba, no torch.

One family a module (``hrm_rl.puzzles.sudoku``, ...), loaded when asked for; here are only the records
that all of them share, and their names.
"""

import difflib
from importlib import import_module
from types import ModuleType

from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays, Symmetry

__all__ = ["FAMILIES", "IGNORE_LABEL", "PuzzleArrays", "Symmetry", "find_family"]

FAMILIES = (
    "sudoku",
    "maze",
    "prefix-parity",
    "pointer-chase",
    "life",
    "lights-out",
    "unique-sat",
)
"""As commands and files call them; their modules have underscores."""


def find_family(name: str) -> ModuleType:
    """A family's module, loaded. Raises ValueError with the nearest name and all there are."""
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown family {name!r}; {hint}known: {', '.join(FAMILIES)}")
    return import_module(f"hrm_rl.puzzles.{name.replace('-', '_')}")
