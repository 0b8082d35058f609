"""What a family of puzzles offers, and the few lines that all families share.

A family is a module with the functions of `Family`. It says by `Dial`s what can be turned, makes puzzle
k from (seed, k) alone, and tells puzzles of one class by one key, so that splits share no class:

    from hrm_rl.puzzles import life

    puzzles = life.generate(1000, seed=0, split="train", size=12, steps=4)
    print(life.draw(puzzles.inputs[0], labels=puzzles.labels[0], size=12, steps=4))

Sudoku, older than this file, offers the same under positional `size`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.counter_rng import mix64_array, stream_keys
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays, Symmetry

SPLITS = ("train", "validation", "test")

# Chosen so that small families split too: of the five classes of 2x2 Lights Out every split has one.
SPLIT_SALT = 11
_MAX_ATTEMPTS = 10_000
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Dial:
    """One setting of a family: its name, default and range.

    Attributes:
        name: as `generate` takes it; also the option of `hrm-rl puzzles`, with dashes.
        default: a value in range, or None where the family then chooses (`about` says what).
        low: least value; None where `choices` lists them all, or for a switch.
        high: greatest value.
        about: a line for humans.
        choices: the values there are, where these are no range.
    """

    name: str
    default: int | float | bool | None
    low: int | float | None
    high: int | float | None
    about: str
    choices: tuple[int, ...] | None = None

    @property
    def values(self) -> str:
        """The values it takes, in words: "4 to 32", "2, 3, 6", "True or False"."""
        if self.choices is not None:
            return ", ".join(map(str, self.choices))
        return "True or False" if self.low is None else f"{self.low} to {self.high}"

    def check(self, value: Any) -> Any:
        """Returns `value`; ValueError naming the dial, what was given and its range."""
        if value is None and self.default is None:
            return None
        if self.choices is not None:
            right = not isinstance(value, bool) and value in self.choices
        elif self.low is None:
            right = isinstance(value, (bool, np.bool_))
        else:
            assert self.high is not None
            kinds: tuple[type, ...] = (int, np.integer)
            if isinstance(self.low, float):
                kinds = (int, float, np.integer, np.floating)
            right = isinstance(value, kinds) and not isinstance(value, bool)
            right = right and self.low <= value <= self.high
        if not right:
            raise ValueError(f"{self.name} must be {self.values}, got {value!r}")
        return value


class Family(Protocol):
    """The functions of a family's module. `**dials` are its `DIALS` by name, each with a default.

    Tokens are int, S cells a puzzle. All functions raise ValueError for a dial out of range.
    """

    @property
    def DIALS(self) -> tuple[Dial, ...]:
        """What can be turned."""

    @property
    def GENERATOR_VERSION(self) -> int:
        """Another generator, or another class key, is another version; part of every source name."""

    @property
    def CHARACTERS(self) -> str | None:
        """One character a token, in files; None where tokens are written as numbers."""

    @property
    def vocab_size(self) -> Callable[..., int]:
        """`vocab_size(**dials)`: tokens, PAD = 0 among them."""

    @property
    def seq_len(self) -> Callable[..., int]:
        """`seq_len(**dials)`: cells a puzzle, S."""

    @property
    def generate(self) -> Callable[..., PuzzleArrays]:
        """`generate(count, *, seed=0, split=None, rate=False, **dials)`; see `make_puzzles`."""

    @property
    def rate(self) -> Callable[..., NDArray[np.float32]]:
        """`rate(inputs [N, S], **dials) -> float32 [N]`: difficulty, in a unit of the family."""

    @property
    def is_valid(self) -> Callable[..., NDArray[np.bool_]]:
        """`is_valid(inputs [..., S], answers [..., S], **dials) -> bool [...]`: any right answer."""

    @property
    def is_exact(self) -> Callable[..., NDArray[np.bool_]]:
        """`is_exact(labels [..., S], answers [..., S]) -> bool [...]`: the stored answer."""

    @property
    def class_key(self) -> Callable[..., NDArray[np.uint64]]:
        """`class_key(inputs [N, S], **dials) -> uint64 [N]`, the same for puzzles of one class."""

    @property
    def symmetry(self) -> Callable[..., Symmetry | None]:
        """`symmetry(**dials)`: what augments; None where no symmetry is of `Symmetry`'s form."""

    @property
    def draw(self) -> Callable[..., str]:
        """`draw(inputs [S], draft=None, labels=None, color=False, **dials)`: lines of text."""

    @property
    def picture(self) -> Callable[..., NDArray[np.uint8]]:
        """`picture(inputs [S], draft=None, labels=None, caption=None, q=None, cell=.., **dials)`:
        uint8 [H, W, 3], of one shape for the same dials and cell; see `picture.frame`."""


def check_dials(dials: tuple[Dial, ...], given: Mapping[str, Any]) -> None:
    """ValueError for the first value of `given` (all of them named in `dials`) out of range."""
    for dial in dials:
        if dial.name in given:
            dial.check(given[dial.name])


def in_split(keys: ArrayLike, split: str, salt: int = SPLIT_SALT) -> NDArray[np.bool_]:
    """Whether classes belong to a split: bool, the shape of `keys` (uint64, of a `class_key`).

    By a hash of the key alone, a quarter of all classes is for testing, a sixteenth for validation and
    the rest for training. ValueError for a split that is none of `SPLITS`.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    sixteenth = mix64_array(np.asarray(keys, np.uint64) ^ np.uint64(salt)) >> np.uint64(60)
    if split == "test":
        return sixteenth < 4
    return sixteenth == 4 if split == "validation" else sixteenth > 4


Made = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]
"""Inputs [K, S], labels [K, S] and which are puzzles [K]; the others are drawn again."""


def check_request(count: int, seed: int, split: str | None) -> None:
    """Raises ValueError where no generator can make so many puzzles of this seed and split."""
    if operator.index(count) < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    if not 0 <= operator.index(seed) < 1 << 64:
        raise ValueError(f"seed must lie in 0 .. 2**64 - 1, got {seed}")
    if split is not None and split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)} or None; got {split!r}")


def make_puzzles(
    make: Callable[[NDArray[np.uint64]], Made],
    class_key: Callable[[NDArray[np.int32]], NDArray[np.uint64]],
    rate: Callable[[NDArray[np.int32]], NDArray[np.float32]] | None,
    count: int,
    *,
    cells: int,
    name: str,
    stream: tuple[int, ...],
    seed: int = 0,
    split: str | None = None,
) -> PuzzleArrays:
    """The puzzles 0 .. count - 1 of a seed, each from (stream, seed, k) alone.

    Puzzle k is the first of its own row of candidates that `make` accepts and that lies in the split; so it
    hangs neither on `count` nor on how the work is shared out.

    Args:
        make: puzzles of stream keys uint64 [K].
        class_key: of inputs [K, S]: uint64 [K].
        rate: of inputs [N, S]: float32 [N]; None leaves ratings NaN.
        count: number of puzzles N.
        cells: of a puzzle, S.
        name: the family, its version and dials; starts every puzzle's source name.
        stream: numbers that tell this family, version and dials from others.
        seed: 0 to 2**64 - 1.
        split: one of `SPLITS`; None takes all.

    Returns:
        N puzzles, identifiers 0; ``source`` names each as "name/seed/split/k".

    Raises:
        ValueError: a bad argument, or no such puzzle in 10,000 attempts.
    """
    check_request(count, seed, split)
    wanted = np.arange(count, dtype=np.uint64)
    inputs, labels = np.empty((count, cells), np.int32), np.empty((count, cells), np.int32)
    for attempt in range(_MAX_ATTEMPTS if count else 0):
        made, answers, accepted = make(stream_keys(*stream, int(seed), wanted, attempt))
        if split is not None:
            accepted = accepted & in_split(class_key(made), split)
        inputs[wanted[accepted]], labels[wanted[accepted]] = made[accepted], answers[accepted]
        wanted = wanted[~accepted]
        if len(wanted) == 0:
            break
    if len(wanted):
        raise ValueError(
            f"{_MAX_ATTEMPTS:,} attempts gave no puzzle {wanted[0]} of {name}"
            + ("" if split is None else f" in the {split!r} split")
            + ": with these dials there are too few"
        )
    return PuzzleArrays(
        inputs=inputs,
        labels=labels,
        puzzle_identifiers=np.zeros(count, np.int32),
        rating=np.full(count, np.nan, np.float32) if rate is None else rate(inputs),
        source=tuple(f"{name}/seed={seed}/{split or 'all'}/{k}" for k in range(count)),
    )


def source_name(family: str, version: int, dials: Mapping[str, Any]) -> str:
    """How source names begin: "life-v1/size=12/steps=4"."""
    return "/".join([f"{family}-v{version}", *(f"{key}={value}" for key, value in dials.items())])


def as_tokens(
    name: str, values: ArrayLike, cells: int, vocab_size: int | None = None
) -> NDArray[np.int32]:
    """`values` as int32 [..., cells]; ValueError for another width, no integers, or, where
    `vocab_size` is given, a token outside 0 .. vocab_size - 1."""
    array = np.asarray(values)
    if array.ndim == 0 or array.shape[-1] != cells:
        raise ValueError(f"{name} must be [..., {cells}], got shape {array.shape}")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integer tokens, got dtype {array.dtype}")
    if vocab_size is not None and array.size:
        wrong = (array < 0) | (array >= vocab_size)
        if wrong.any():
            raise ValueError(
                f"{name} holds token {array[wrong][0]}; there are 0 to {vocab_size - 1}"
            )
    return np.ascontiguousarray(array, dtype=np.int32)


def as_pair(
    inputs: ArrayLike, answers: ArrayLike, cells: int, vocab_size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Puzzles and answers of one shape [..., cells]; any token may stand in an answer."""
    puzzles = as_tokens("inputs", inputs, cells, vocab_size)
    given = as_tokens("answers", answers, cells)
    if given.shape != puzzles.shape:
        raise ValueError(
            f"answers must have the shape of inputs {puzzles.shape}, got {given.shape}"
        )
    return puzzles, given


def as_shown(
    inputs: ArrayLike,
    draft: ArrayLike | None,
    labels: ArrayLike | None,
    cells: int,
    vocab_size: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """What a drawing shows: the puzzle, the draft (None is the puzzle itself) and its mistakes.

    A mistake is a labelled cell in which the draft differs; without a draft or labels there are none.

    Returns:
        (inputs int32 [S], draft int32 [S], wrong bool [S]).

    Raises:
        ValueError: not one puzzle [S], or an unknown token.
    """
    puzzle = as_tokens("inputs", inputs, cells, vocab_size)
    if puzzle.ndim != 1:
        raise ValueError(f"one puzzle [S] is drawn at a time, got shape {puzzle.shape}")
    shown = puzzle if draft is None else as_tokens("draft", draft, cells, vocab_size)
    if shown.shape != puzzle.shape:
        raise ValueError(f"draft must be [S] as inputs {puzzle.shape}, got {shown.shape}")
    if draft is None or labels is None:
        return puzzle, shown, np.zeros(cells, bool)
    solution = as_tokens("labels", labels, cells)
    if solution.shape != puzzle.shape:
        raise ValueError(f"labels must be [S] as inputs {puzzle.shape}, got {solution.shape}")
    return puzzle, shown, (solution != IGNORE_LABEL) & (solution != shown)


def is_exact(labels: ArrayLike, answers: ArrayLike) -> NDArray[np.bool_]:
    """Whether answers equal the stored one wherever it says anything: bool [...] for [..., S]."""
    labels, answers = np.asarray(labels), np.asarray(answers)
    if labels.shape != answers.shape:
        raise ValueError(
            f"answers must have the shape of labels {labels.shape}, got {answers.shape}"
        )
    return ((labels == IGNORE_LABEL) | (labels == answers)).all(axis=-1)


def hash_rows(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """A 64-bit hash of every row of integers [N, S], the order of its cells included: uint64 [N]."""
    total = np.full(len(rows), np.uint64(rows.shape[1]))
    with np.errstate(over="ignore"):
        for column in np.ascontiguousarray(rows.T):
            total = mix64_array((total ^ column.astype(np.uint64)) + _GOLDEN)
    return total


def dihedral(size: int) -> NDArray[np.int64]:
    """The eight rotations and reflections of a square as a cell table: int64 [8, size * size]."""
    grid = np.arange(size * size).reshape(size, size)
    turns = [np.rot90(square, k) for square in (grid, grid.T) for k in range(4)]
    return np.stack([turn.ravel() for turn in turns])
