"""A family of puzzles with its dials set: what training, evaluation and recording ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_rl.envs.core.single import PictureDrawer
from hrm_rl.envs.core.source import Validator
from hrm_rl.envs.families.sudoku import sudoku_validator
from hrm_rl.puzzles import FAMILIES, PuzzleArrays, Symmetry, find_family

OWN = "own"
"""The family of puzzles that no module here knows: tokens in a dataset folder."""

_CHUNK = 1 << 16


@dataclass(frozen=True)
class PuzzleKind:
    """Puzzles of one shape and one meaning. Made by `puzzle_kind` and `own_kind`."""

    family: str
    """One of `hrm_rl.puzzles.FAMILIES`, or own."""
    vocab_size: int
    seq_len: int
    dials: Mapping[str, Any] = field(default_factory=dict)
    """All that the functions of the family's module take."""
    made_with: Mapping[str, Any] = field(default_factory=dict)
    """What `generate` takes besides: a Sudoku's extra givens."""

    @property
    def module(self) -> ModuleType:
        """The family's functions. Raises ValueError where there are none."""
        if self.family == OWN:
            raise ValueError(f"{self.words} can only come from a dataset folder")
        return find_family(self.family)

    @property
    def words(self) -> str:
        """As messages call it: "6x6 Sudoku", "maze (size=12 perfect=True)"."""
        if self.family == OWN:
            return f"puzzles of {self.seq_len} cells and {self.vocab_size} tokens"
        if self.family == "sudoku":
            return f"{self.dials['size']}x{self.dials['size']} Sudoku"
        turned = (f"{dial.name}={self.dials[dial.name]}" for dial in self.module.DIALS)
        return f"{self.family} ({' '.join(word for word in turned if not word.endswith('=None'))})"

    @property
    def symmetry(self) -> Symmetry | None:
        """What augments. A maze of several shortest paths is left as it is: turned, its label would be
        another choice than the one that is stored (see `hrm_rl.envs.families.maze`)."""
        if self.family == OWN:
            return None
        if self.family == "maze" and (not self.dials["perfect"] or self.dials["braid"]):
            return None
        symmetry: Symmetry | None = self.module.symmetry(**self.dials)
        return symmetry

    @property
    def picture(self) -> PictureDrawer | None:
        """Draws one puzzle; None where nobody knows how."""
        return None if self.family == OWN else partial(self.module.picture, **self.dials)

    def validator(self, device: object = "cpu") -> Validator | None:
        """The check for any right answer; None where only the stored one is known."""
        if self.family == OWN:
            return None
        if self.family == "sudoku":
            return sudoku_validator(self.dials["size"])
        envs = import_module(f"hrm_rl.envs.families.{self.family.replace('-', '_')}")
        validator: Validator = envs.validator(device, **self.dials)
        return validator

    def generate(self, count: int, *, seed: int, split: str, rate: bool = False) -> PuzzleArrays:
        """The puzzles 0 .. count - 1 of a seed and split; ValueError where they cannot be made."""
        dials = {**self.dials, **self.made_with}
        puzzles: PuzzleArrays = self.module.generate(
            count, seed=seed, split=split, rate=rate, **dials
        )
        return puzzles

    def source_name(self, puzzles: PuzzleArrays) -> str:
        """What banks call generated puzzles: "sudoku-4x4+0..2", "maze-v1/size=12/perfect=True/..."."""
        if self.family != "sudoku":
            assert puzzles.source
            return puzzles.source[0].partition("/seed=")[0]
        low, high = self.made_with.get("extra_givens", (0, 0))
        size = self.dials["size"]
        return f"sudoku-{size}x{size}+{low}" + (f"..{high}" if high > low else "")

    def rows_of(self, inputs: NDArray[Any], split: str) -> NDArray[np.int64]:
        """The rows of inputs [N, S] whose class belongs to a split, in order."""
        return np.flatnonzero(self.module.in_split(self.class_keys(inputs), split))

    def class_keys(self, inputs: NDArray[Any]) -> NDArray[np.uint64]:
        """The class of every row of inputs [N, S], which may be memory-mapped: uint64 [N]."""
        found = [np.zeros(0, np.uint64)]
        for start in range(0, len(inputs), _CHUNK):
            few = np.asarray(inputs[start : start + _CHUNK], np.int32)
            found.append(self.module.class_key(few, **self.dials))
        return np.concatenate(found)

    def check_shape(self, where: object, vocab_size: int, seq_len: int, *, hint: str = "") -> None:
        """ValueError where puzzles of `where` cannot be of this kind."""
        if seq_len != self.seq_len or vocab_size > self.vocab_size:
            raise ValueError(
                f"{where} has {seq_len} cells and {vocab_size} tokens a puzzle, {self.words} has "
                f"{self.seq_len} and {self.vocab_size}{hint}"
            )


def puzzle_kind(
    family: str, dials: Mapping[str, Any], made_with: Mapping[str, Any] | None = None
) -> PuzzleKind:
    """Puzzles of a family, other dials at their defaults.

    Raises ValueError for an unknown family, or a dial that it has not or that is out of range.
    """
    if family == "sudoku":
        module, known = find_family(family), {"size": 9}
    elif family in FAMILIES:
        module = find_family(family)
        known = {dial.name: dial.default for dial in module.DIALS}
        has = ", ".join(f"{dial.name} ({dial.values})" for dial in module.DIALS)
        for name in dials:
            if name not in known:
                raise ValueError(f"{name} is no dial of {family}; it has {has}")
    else:
        module, known = find_family(family), {}
    turned = {**known, **dials}
    shape = module.vocab_size(**turned), module.seq_len(**turned)
    return PuzzleKind(family, *shape, turned, made_with or {})


def own_kind(vocab_size: int, seq_len: int) -> PuzzleKind:
    """Puzzles of which only the shape is known."""
    return PuzzleKind(OWN, vocab_size, seq_len)


def kind_of_shape(vocab_size: int, seq_len: int) -> PuzzleKind:
    """What a bare model most likely solves: Sudoku, a maze, or puzzles of one's own."""
    size = round(seq_len**0.5)
    if size * size == seq_len:
        if size in find_family("sudoku").SIZES and vocab_size == size + 2:
            return puzzle_kind("sudoku", {"size": size})
        if 3 <= size <= 100 and vocab_size == 6:
            return puzzle_kind("maze", {"size": size})
    return own_kind(vocab_size, seq_len)
