"""The base class of every puzzle family: dials in, generated, checked, rated and drawn puzzles out.

    from hrm_rl.puzzles.life import Life

    life = Life(size=12, steps=4)
    puzzles = life.generate(1000, seed=0, split="train")
    print(life.draw(puzzles.inputs[0], labels=puzzles.labels[0]))

A family is a frozen dataclass whose fields are its dials. It makes puzzle k from (seed, k) alone and gives
puzzles of one class one key, so that splits share no class.
"""

import dataclasses
import logging
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.messages import did_you_mean
from hrm_rl.puzzles.base.counter_rng import mix64_array, stream_keys
from hrm_rl.puzzles.base.dials import as_integers, check_dials, check_fields, range_of
from hrm_rl.puzzles.base.picture import Drawable
from hrm_rl.puzzles.base.splits import SPLITS
from hrm_rl.puzzles.base.tokens import as_pair, as_tokens, check_shape, is_exact
from hrm_rl.puzzles.files.cell_text import CellText
from hrm_rl.puzzles.files.csv import CsvFormat, read_puzzles, write_puzzles
from hrm_rl.puzzles.pool import PuzzleArrays, Symmetry, concatenate

# Chosen so that small families split too: each split has one of the five classes of 2x2 Lights Out.
SPLIT_SALT = 11
MAX_ATTEMPTS = 10_000
_CHUNK = 1 << 16  # rows whose class is computed at a time
_log = logging.getLogger(__name__)

Made = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]
"""Inputs [K, S], labels [K, S], and which rows are puzzles [K]; the other rows are drawn again."""


class Family(Drawable):
    """Puzzles of one kind and difficulty. A subclass is a frozen dataclass with a dial in each field.

    A subclass declares `name` and, where another value than the default fits, the other class attributes
    below. It implements `vocab_size`, `seq_len`, `make`, `solves`, `difficulty`, `key`, `text` and `board`;
    the others have defaults. Its constructor raises ValueError for a dial out of range.
    """

    name: ClassVar[str]
    """On the command line and in settings: "lights-out"."""
    version: ClassVar[int] = 1
    """Part of every source name; another generator or another class key is another version."""
    stream: ClassVar[int | None] = None
    """Separates this family's random streams from those of others; None takes a hash of the name."""
    characters: ClassVar[str | None] = None
    """One character for each token in CSV files; None writes tokens as numbers."""
    one_answer: ClassVar[bool] = False
    """Whether every puzzle has one right answer, its label: then `valid` is `correct`, without a search."""
    favoured: ClassVar[Sequence[Sequence[int]] | None] = None
    """Sets of classes of `relations`: attention heads start by favouring one set each. None is each class but
    0 alone."""
    split_salt: ClassVar[int] = SPLIT_SALT

    def __init_subclass__(cls, abstract: bool = False) -> None:
        """Raise TypeError for a family without a name, or with a field that is not a dial."""
        super().__init_subclass__()
        if abstract:
            return
        if not hasattr(cls, "name"):
            raise TypeError(f'{cls.__name__} needs a name: name: ClassVar = "lights-out"')
        check_fields(cls)

    def __post_init__(self) -> None:
        check_dials(self)
        self.check()

    # --- implemented by subclasses ---------------------------------------------------------------

    @property
    def cell_text(self) -> CellText:
        """How tokens are written in files."""
        return CellText(self.characters)

    @property
    def symmetry(self) -> Symmetry | None:
        """The symmetries that map puzzles to puzzles; None if `Symmetry` cannot express any."""
        return None

    @property
    def augmentation(self) -> Symmetry | None:
        """The symmetries that also map the stored label to the stored label: what training applies."""
        return self.symmetry

    @property
    def relations(self) -> NDArray[np.int32] | None:
        """How cells are related: a class for each ordered pair, int32 [S, S], 0 for unrelated; None if no two
        cells are. A model with `relation_bias` learns a bias for each class."""
        return None

    def check(self) -> None:
        """Raise ValueError for dials that are each in range and do not fit together."""

    def make(self, keys: NDArray[np.uint64]) -> Made:
        """Return a candidate puzzle for each stream key [K]."""
        raise NotImplementedError

    def solves(self, puzzles: NDArray[np.int32], answers: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether answers [N, S], of any tokens, are right for puzzles [N, S]: bool [N]."""
        raise NotImplementedError

    def difficulty(self, puzzles: NDArray[np.int32]) -> NDArray[Any]:
        """The rating of puzzles [N, S], in the family's unit: [N]."""
        raise NotImplementedError

    def key(self, puzzles: NDArray[np.int32]) -> NDArray[np.uint64]:
        """A number that puzzles [N, S] of one class share: uint64 [N]."""
        raise NotImplementedError

    def explain(self, puzzle: NDArray[np.int32], answer: NDArray[np.int32]) -> str:
        """Why an answer [S] is not right for its puzzle [S], in words that follow "the answer"."""
        return "it does not solve its question"

    @property
    def stream_start(self) -> tuple[int, ...]:
        """Numbers that separate this family's random streams from those of other families and versions."""
        stream = self.stream
        if stream is None:
            stream = int(stream_keys(*self.name.encode())[0])
        return stream, self.version, *self.stream_numbers()

    def stream_numbers(self) -> tuple[int, ...]:
        """Numbers that separate the random streams of different dials."""
        return tuple(as_integers(tuple(self.dials().values())))

    def named_dials(self) -> dict[str, Any]:
        """The dials that puzzles depend on, as their source names give them."""
        return {name: value for name, value in self.dials().items() if value is not None}

    # --- common to all families --------------------------------------------------------------------

    @classmethod
    def with_dials(cls, dials: Mapping[str, Any]) -> Self:
        """The family with these dials, the others at their defaults.

        Raises ValueError for a name that is not a dial of the family, or a value out of range.
        """
        known = cls.ranges()
        for name in dials:
            if name not in known:
                near = did_you_mean(name, known)
                has = ", ".join(f"{dial} ({words})" if words else dial for dial, words in known.items())
                raise ValueError(f"{name} is not a dial of {cls.name}; {near and f'{near} '}it has {has}")
        return cls(**dials)

    @classmethod
    def ranges(cls) -> dict[str, str]:
        """The range of every dial in words, by name."""
        return {field.name: range_of(field).words for field in dataclasses.fields(cls)}  # type: ignore[arg-type]

    def dials(self) -> dict[str, Any]:
        """Every dial by name."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {field.name: getattr(self, field.name) for field in fields}

    @property
    def words(self) -> str:
        """The family in messages: "maze (size=12 perfect=True braid=0.0)"."""
        turned = (f"{name}={value}" for name, value in self.dials().items() if value is not None)
        return f"{self.name} ({' '.join(turned)})"

    @property
    def source_name(self) -> str:
        """How the source names of its puzzles begin: "life-v1/size=12/steps=4"."""
        dials = (f"{name}={value}" for name, value in self.named_dials().items())
        return "/".join([f"{self.name.replace('-', '_')}-v{self.version}", *dials])

    def generate(
        self, count: int, *, seed: int = 0, split: str | None = None, rate: bool = False, first: int = 0
    ) -> PuzzleArrays:
        """The puzzles first .. first + count - 1 of a seed. Puzzle k depends on (dials, seed, split, k).

        So two may be the same; `generate_distinct` leaves repetitions out.

        Args:
            count: number of puzzles N.
            seed: 0 to 2**64 - 1.
            split: only classes of this split; None takes all.
            rate: fill in ``rating``; else it is NaN.
            first: number of the first puzzle.

        Returns:
            N puzzles, identifiers 0; ``source`` names each as "life-v1/size=12/steps=4/seed=0/train/17".

        Raises:
            ValueError: a bad argument, or 10,000 attempts gave no such puzzle.
        """
        for name, number in (("count", count), ("first", first)):
            if _integer(name, number) < 0:
                raise ValueError(f"{name} must be 0 or more, got {number}")
        if not 0 <= _integer("seed", seed) < 1 << 64:
            raise ValueError(f"seed must lie in 0 .. 2**64 - 1, got {seed}")
        if split is not None and split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)} or None; got {split!r}")
        inputs = np.empty((count, self.seq_len), np.int32)
        labels = np.empty_like(inputs)
        missing = np.arange(count, dtype=np.uint64)
        for attempt in range(MAX_ATTEMPTS):
            if len(missing) == 0:
                break
            made, answers, accepted = self.make(
                stream_keys(*self.stream_start, int(seed), missing + np.uint64(first), attempt)
            )
            if split is not None:
                accepted = accepted & self.in_split(self.class_key(made), split)
            rows = missing[accepted]
            inputs[rows], labels[rows] = made[accepted], answers[accepted]
            missing = missing[~accepted]
        if len(missing):
            place = "" if split is None else f" in the {split!r} split"
            raise ValueError(
                f"{MAX_ATTEMPTS:,} attempts gave no puzzle {first + int(missing[0])} of "
                f"{self.source_name}{place}: these dials have too few"
            )
        return PuzzleArrays(
            inputs=inputs,
            labels=labels,
            rating=self.rate(inputs) if rate else np.full(count, np.nan, np.float32),
            source=tuple(
                f"{self.source_name}/seed={seed}/{split or 'all'}/{k}" for k in range(first, first + count)
            ),
        )

    def generate_distinct(
        self, count: int, *, seed: int = 0, split: str | None = None, rate: bool = False
    ) -> PuzzleArrays:
        """The first `count` distinct puzzles of a seed; fewer, with a warning, if there are not that many.

        Arguments, source names and errors as in `generate`.
        """
        found = self.generate(count, seed=seed, split=split).distinct()
        drawn, idle, most = count, 0, 8 * count + 1000
        while len(found) < count and drawn < most and idle < 4 * len(found) + 64:
            more = min(max(64, 2 * (count - len(found))), most - drawn)
            new = self.generate(more, seed=seed, split=split, first=drawn)
            both, drawn = concatenate([found, new]).distinct(), drawn + more
            idle, found = 0 if len(both) > len(found) else idle + more, both
        if len(found) < count:
            _log.warning(
                f"{self.words} has {len(found):,} distinct {split or ''} puzzles".replace("  ", " ")
                + f" among the first {drawn:,}, fewer than {count:,}."
            )
        found = found.take(slice(count))
        return dataclasses.replace(found, rating=self.rate(found.inputs)) if rate else found

    def is_valid(self, inputs: ArrayLike, answers: ArrayLike) -> NDArray[np.bool_]:
        """Whether answers are right, the stored one or any other: bool [...] for [..., S]."""
        puzzles, given = as_pair(inputs, answers, self.seq_len, self.vocab_size)
        rows = (array.reshape(-1, self.seq_len) for array in (puzzles, given))
        return self.solves(*rows).reshape(puzzles.shape[:-1])

    def rate(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """Difficulty, in the family's unit: float32 [...] for [..., S]."""
        return self._by_row(self.difficulty, inputs).astype(np.float32)

    def class_key(self, inputs: ArrayLike) -> NDArray[np.uint64]:
        """A number that puzzles of one class share: uint64 [...] for [..., S].

        Rows [N, S] may be memory-mapped; a part of them is in memory at a time.
        """
        rows = np.asarray(inputs)
        if rows.ndim != 2:
            return self._by_row(self.key, rows)
        starts = range(0, max(1, len(rows)), _CHUNK)
        return np.concatenate([self._by_row(self.key, rows[s : s + _CHUNK]) for s in starts])

    def _by_row(self, function: Callable[..., NDArray[Any]], inputs: ArrayLike) -> NDArray[Any]:
        tokens = as_tokens("inputs", inputs, self.seq_len, self.vocab_size)
        return function(tokens.reshape(-1, self.seq_len)).reshape(tokens.shape[:-1])

    is_exact = staticmethod(is_exact)

    @classmethod
    def in_split(cls, keys: ArrayLike, split: str) -> NDArray[np.bool_]:
        """Whether classes of these keys belong to a split; see the function `in_split`."""
        return in_split(keys, split, cls.split_salt)

    def rows_of(self, inputs: NDArray[Any], split: str) -> NDArray[np.int64]:
        """The rows of inputs [N, S] whose class belongs to a split, in order."""
        return np.flatnonzero(self.in_split(self.class_key(inputs), split))

    def read_csv(self, path: str | os.PathLike[str]) -> PuzzleArrays:
        """The puzzles of a file ``source,question,answer,rating``, all checked.

        Raises ValueError for anything wrong in it, naming file, line and field; OSError if it is unreadable.
        """
        return read_puzzles(path, lambda question: self.csv_format(path))[0]

    def write_csv(self, path: str | os.PathLike[str], puzzles: PuzzleArrays) -> None:
        """Write puzzles so that `read_csv` gives them back; identifiers are not kept.

        The file appears whole or not at all. Raises ValueError for puzzles of another shape or labels that
        are not right, naming the first puzzle; OSError if the file cannot be written.
        """
        right = self.is_valid(puzzles.inputs, puzzles.labels)
        if not right.all():
            row = int(np.argmin(right))
            reason = self.explain(puzzles.inputs[row], puzzles.labels[row])
            raise ValueError(f"puzzle {row}, answer: {reason}")
        if puzzles.puzzle_identifiers.any():
            _log.warning(
                "%s: a CSV keeps no puzzle identifiers; a dataset folder does (write_dataset).", path
            )
        write_puzzles(path, puzzles, self.cell_text)

    def csv_format(self, path: str | os.PathLike[str]) -> CsvFormat:
        """The content of the family's CSV files; `path` is named in messages."""

        def are_right(inputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_]:
            top = int(max(inputs.max(), labels.max())) + 1
            check_shape(self, path, top, inputs.shape[1])
            return self.is_valid(inputs, labels)

        return CsvFormat(self.cell_text, are_right, self.explain)


def in_split(keys: ArrayLike, split: str, salt: int = SPLIT_SALT) -> NDArray[np.bool_]:
    """Whether classes belong to a split: bool, the shape of `keys` (uint64, of a `class_key`).

    A hash of the key alone decides: a quarter of all classes is for testing, a sixteenth for validation and
    the rest for training. Raises ValueError for a split that is not one of `SPLITS`.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    sixteenth = mix64_array(np.asarray(keys, np.uint64) ^ np.uint64(salt)) >> np.uint64(60)
    if split == "test":
        return sixteenth < 4
    return sixteenth == 4 if split == "validation" else sixteenth > 4


def _integer(name: str, value: Any) -> int:
    """The value as an int. Raises ValueError naming the argument."""
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer, got {value!r}") from None
