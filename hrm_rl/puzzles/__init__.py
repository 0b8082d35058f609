"""Puzzle families: generate, check, rate, augment and draw puzzles. NumPy and numba, no torch.

A family is a frozen dataclass of its dials (`hrm_rl.puzzles.family`). An entry in `FAMILIES` registers it:
as an environment, as `hrm-rl puzzles NAME`, for training, and for CSV files.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hrm_rl.messages import did_you_mean
from hrm_rl.puzzles.pool import IGNORE_LABEL, CustomPuzzles, PuzzleArrays, Symmetry

if TYPE_CHECKING:
    from hrm_rl.puzzles.family import Family

__all__ = [
    "FAMILIES",
    "IGNORE_LABEL",
    "CustomPuzzles",
    "PuzzleArrays",
    "Symmetry",
    "family_of_shape",
    "find_family",
    "make_family",
]

FAMILIES = {
    "sudoku": "hrm_rl.puzzles.sudoku:Sudoku",
    "maze": "hrm_rl.puzzles.maze:Maze",
    "prefix-parity": "hrm_rl.puzzles.prefix_parity:PrefixParity",
    "pointer-chase": "hrm_rl.puzzles.pointer_chase:PointerChase",
    "life": "hrm_rl.puzzles.life:Life",
    "lights-out": "hrm_rl.puzzles.lights_out:LightsOut",
    "unique-sat": "hrm_rl.puzzles.unique_sat:UniqueSAT",
}
"""Name: module and class, loaded on first use. The environment of class LightsOut is HRM/LightsOut-v0."""


def find_family(name: str) -> type[Family]:
    """A family's class. Raises ValueError for an unknown name, with the nearest known one."""
    if name not in FAMILIES:
        near = did_you_mean(name, FAMILIES)
        hint = f"{near} " if near else ""
        raise ValueError(f"unknown family {name!r}; {hint}known: {', '.join(FAMILIES)}")
    module, _, cls = FAMILIES[name].partition(":")
    family: type[Family] = getattr(import_module(module), cls)
    return family


def make_family(name: str, dials: Mapping[str, Any]) -> Family:
    """A family with these dials, the others at their defaults.

    Raises ValueError for an unknown name, a dial that the family does not have, or a value out of range.
    """
    return find_family(name).with_dials(dials)


def family_of_shape(vocab_size: int, seq_len: int) -> Family | CustomPuzzles:
    """The puzzles that a bare model of this shape most likely solves: Sudoku, mazes, or custom ones."""
    size = round(seq_len**0.5)
    if size * size == seq_len:
        if size in (4, 6, 9) and vocab_size == size + 2:
            return make_family("sudoku", {"size": size})
        if 3 <= size <= 100 and vocab_size == 6:
            return make_family("maze", {"size": size})
    return CustomPuzzles(vocab_size, seq_len)
