"""The trace bank: features and drafts of a frozen model, segment by segment. NumPy only, no torch."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.halting.bank.file import check_values, read_bank, write_bank
from hrm_rl.halting.bank.header import COUNTS, FEATURES, BankHeader, puzzles_hash
from hrm_rl.puzzles.base.splits import SPLITS
from hrm_rl.puzzles.pool import PuzzleArrays

_ARRAYS: dict[str, tuple[Any, str]] = {  # type, and shape: N puzzles, M segments, S cells, D channels
    "correct": (np.bool_, "NM"),
    "valid": (np.bool_, "NM"),
    "cell_accuracy": (np.float32, "NM"),
    "inputs": (np.int32, "NS"),
    "labels": (np.int32, "NS"),
    "puzzle_identifiers": (np.int32, "N"),
    "puzzle_key": (np.int64, "N"),
    "rating": (np.float32, "N"),
    "split": (np.str_, "N"),
    "pooled_z_H": (None, "NMD"),
    "drafts": (None, "NMS"),
    "draft_ids": (np.uint32, "NM"),
    "learned": (None, "N"),
}


@dataclass(frozen=True, eq=False)
class TraceBank:
    """N puzzles x M segments of S cells; column m is the (m + 1)-th segment.

    A bank of K trajectories a puzzle has the plain one, without noise and in the identity view, in the fields
    of width 1, so that whatever reads one trajectory reads that one; `others` has the others.

    Raises ValueError if shapes or split names do not fit. Values (NaN, infinity) are checked when a bank
    is saved or loaded.
    """

    correct: NDArray[np.bool_]
    """[N, M]: the draft is the stored solution."""
    valid: NDArray[np.bool_]
    """[N, M]: the draft is any right answer."""
    cell_accuracy: NDArray[np.float32]
    """[N, M]: share of the labelled cells that are right."""
    features: Mapping[str, NDArray[Any]]
    """`FEATURES` by name, [N, M], as `hrm_rl.halting.SegmentFeatures` describes them."""
    inputs: NDArray[np.int32]
    """[N, S] tokens."""
    labels: NDArray[np.int32]
    """[N, S] tokens; IGNORE_LABEL in cells without a label."""
    puzzle_identifiers: NDArray[np.int32]
    """[N]."""
    puzzle_key: NDArray[np.int64]
    """[N]: 0, 1, 2, ... within each split, as in live evaluation; `random` draws from it."""
    rating: NDArray[np.float32]
    """[N]; NaN = unrated."""
    source: tuple[str, ...]
    """[N] names."""
    split: NDArray[np.str_]
    """[N]: train, validation or test."""
    header: BankHeader = field(default_factory=BankHeader)
    pooled_z_H: NDArray[np.float16] | None = None
    """[N, M, D]: mean of z_H over positions, if recorded."""
    drafts: NDArray[np.unsignedinteger[Any]] | None = None
    """[N, M, S]: every draft, if recorded."""
    learned: NDArray[np.bool_] | None = None
    """[N]: whether the model learned from the puzzle, up to symmetry, if that is known."""
    draft_ids: NDArray[np.uint32] | None = None
    """[N, M]: drafts of a puzzle, of all trajectories, are equal if these numbers are. With others only."""
    others: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """[N, K - 1, M, ...]: every column of segments, of the trajectories but the plain one; {} if K is 1."""

    def __post_init__(self) -> None:
        self._convert()
        self._check_shapes()
        digest = puzzles_hash(self.inputs, self.labels)
        if digest != self.header.puzzles_hash:
            object.__setattr__(self, "header", replace(self.header, puzzles_hash=digest))

    def _convert(self) -> None:
        """Convert arrays to the declared types; those that have them are not copied."""
        for name, (kind, _) in _ARRAYS.items():
            if kind is not None and getattr(self, name) is not None:
                object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), kind))
        features = {
            name: np.ascontiguousarray(column, np.int64 if name in COUNTS else np.float32)
            for name, column in self.features.items()
        }
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "source", tuple(self.source))
        own = self._of_segments()
        others = {
            name: np.ascontiguousarray(column, own[name].dtype if name in own else None)
            for name, column in self.others.items()
        }
        object.__setattr__(self, "others", others)

    def _of_segments(self) -> dict[str, NDArray[Any]]:
        """The recorded columns [N, M, ...] of the plain trajectory."""
        columns = {name: getattr(self, name) for name, (_, axes) in _ARRAYS.items() if axes[:2] == "NM"}
        return {name: column for name, column in columns.items() if column is not None} | dict(self.features)

    def _check_shapes(self) -> None:
        if self.correct.ndim != 2 or 0 in self.correct.shape:
            raise ValueError(
                f"correct must be [puzzles, segments], both >= 1, got shape {self.correct.shape}"
            )
        if self.inputs.ndim != 2:
            raise ValueError(f"inputs must be [puzzles, cells], got shape {self.inputs.shape}")
        count, segments = self.correct.shape
        channels = 0 if self.pooled_z_H is None else self.pooled_z_H.shape[-1]
        sizes = {"N": count, "M": segments, "S": self.inputs.shape[1], "D": channels}
        wanted = {name: letters for name, (_, letters) in _ARRAYS.items()}
        wanted |= dict.fromkeys(self.features, "NM")
        for name, letters in wanted.items():
            array = self.features[name] if name in self.features else getattr(self, name)
            shape = tuple(sizes[letter] for letter in letters)
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, the bank needs {shape}")
        self._check_others()
        if len(self.source) != count:
            raise ValueError(f"source names {len(self.source)} puzzles, the bank holds {count}")
        for name in self.features:
            if name not in FEATURES:
                raise ValueError(f"unknown feature {name!r}; a bank holds {', '.join(FEATURES)}")
        for name in np.unique(self.split):
            if name not in SPLITS:
                raise ValueError(f"unknown split {str(name)!r}; known: {', '.join(SPLITS)}")

    def _check_others(self) -> None:
        own = self._of_segments()
        if not self.others:
            return
        if odd := own.keys() ^ self.others.keys():
            raise ValueError(
                f"the plain trajectory and the others must have the same columns; odd: {sorted(odd)}"
            )
        if "draft_ids" not in own:
            raise ValueError("a bank of several trajectories needs draft_ids")
        more = {column.shape[1] if column.ndim > 1 else 0 for column in self.others.values()}
        for name, column in self.others.items():
            wanted = (len(self), max(1, *more), *own[name].shape[1:])
            if column.shape != wanted:
                raise ValueError(f"others: {name} has shape {column.shape}, the bank needs {wanted}")

    # --- sizes and outcomes -----------------------------------------------------------------------

    def __len__(self) -> int:
        return self.num_puzzles

    @property
    def num_puzzles(self) -> int:
        """N."""
        return int(self.correct.shape[0])

    @property
    def num_segments(self) -> int:
        """M."""
        return int(self.correct.shape[1])

    @property
    def width(self) -> int:
        """Trajectories a puzzle, K."""
        return 1 + next(iter(self.others.values())).shape[1] if self.others else 1

    @property
    def first_correct(self) -> NDArray[np.int64]:
        """Segment of the first correct draft, [N], counted from 1; 0 = never."""
        return np.where(self.correct.any(1), self.correct.argmax(1) + 1, 0).astype(np.int64)

    @property
    def puzzles(self) -> PuzzleArrays:
        """The puzzles themselves, for a live run on them."""
        return PuzzleArrays(self.inputs, self.labels, self.puzzle_identifiers, self.rating, self.source)

    # --- parts ------------------------------------------------------------------------------------

    def take(self, rows: ArrayLike | slice) -> "TraceBank":
        """The bank of some puzzles: integers [K], a bool mask [N] or a slice.

        Keys are kept, so `random` decides on each puzzle as before. Raises ValueError if none is left.
        """
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            rows = rows if rows.size else rows.astype(np.int64)
        index = np.atleast_1d(np.arange(self.num_puzzles)[rows])
        if not len(index):
            raise ValueError("a bank needs at least one puzzle, got none")
        source = tuple(self.source[row] for row in index)
        others = {name: column[index] for name, column in self.others.items()}
        return replace(self, source=source, others=others, **self._map("N", lambda array: array[index]))

    def in_split(self, name: str) -> "TraceBank":
        """The puzzles of one split. Raises ValueError naming the bank's splits if it has none of it."""
        where = self.split == name
        if not where.any():
            present = ", ".join(self.counts())
            raise ValueError(f"this bank has no puzzle of split {name!r}; it has {present}")
        return self if where.all() else self.take(where)

    def counts(self) -> dict[str, int]:
        """The number of puzzles by split, without empty splits."""
        numbers = {name: int((self.split == name).sum()) for name in SPLITS}
        return {name: number for name, number in numbers.items() if number}

    def truncate(self, max_segments: int) -> "TraceBank":
        """The bank's first segments, as if only those had been recorded.

        Raises ValueError if it holds fewer.
        """
        self.check_limit(max_segments)
        if max_segments == self.num_segments:
            return self
        others = {name: column[:, :, :max_segments] for name, column in self.others.items()}
        return replace(self, others=others, **self._map("M", lambda array: array[:, :max_segments]))

    def narrow(self, width: int) -> "TraceBank":
        """The bank's first trajectories; of width 1 the plain one, as a bank without others.

        Raises ValueError if it holds fewer.
        """
        if not 1 <= width <= self.width:
            raise ValueError(f"width must be 1..{self.width}, the trajectories in the bank; got {width}")
        if width == self.width:
            return self
        if width > 1:
            return replace(
                self, others={name: column[:, : width - 1] for name, column in self.others.items()}
            )
        return replace(self, others={}, draft_ids=None, header=replace(self.header, trajectories=""))

    def stacked(self, name: str) -> NDArray[Any]:
        """A recorded column of segments of all trajectories, [N, K, M, ...], the plain one first."""
        own = self._of_segments()[name][:, None]
        return np.concatenate([own, self.others[name]], axis=1) if self.others else own

    @cached_property
    def unrolled(self) -> "TraceBank":
        """The bank with every trajectory as a puzzle, [N * K, M], a puzzle's trajectories together."""
        if not self.others:
            return self
        rows = np.repeat(np.arange(len(self)), self.width)
        columns: dict[str, Any] = {n: np.concatenate(self.stacked(n)) for n in self._of_segments()}
        features = {name: columns.pop(name) for name in self.features}
        return replace(self.narrow(1).take(rows), features=features, **columns)

    def _map(self, axis: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> dict[str, Any]:
        """The features, and all arrays that have this axis and are recorded, each changed."""
        arrays = {name: getattr(self, name) for name, (_, axes) in _ARRAYS.items() if axis in axes}
        changed = {name: change(array) for name, array in arrays.items() if array is not None}
        return changed | {"features": {name: change(x) for name, x in self.features.items()}}

    def check_limit(self, max_segments: int) -> None:
        """Raises ValueError unless 1 <= max_segments <= M."""
        if not 1 <= max_segments <= self.num_segments:
            raise ValueError(
                f"max_segments must be 1..{self.num_segments}, the segments in the bank; got {max_segments}"
            )

    # --- columns ----------------------------------------------------------------------------------

    def column(self, name: str) -> NDArray[Any]:
        """A column of SegmentFeatures, recorded or derived: [N, M], pooled_z_H float32 [N, M, D].

        Raises ValueError, saying how to record it, if the bank has none.
        """
        if name in self.features:
            return self.features[name]
        shape = self.correct.shape
        if name == "segment":
            return np.broadcast_to(np.arange(1, shape[1] + 1, dtype=np.int64), shape)
        if name == "puzzle_key":
            return np.broadcast_to(self.puzzle_key[:, None], shape)
        if name == "previous_residual_H":
            last = self.column("residual_H")[:, :-1]
            return np.concatenate([np.full((shape[0], 1), np.inf, np.float32), last], axis=1)
        if name in ("halt_sum", "log_survival"):
            # As in the live loop: in float32, one segment after the other.
            q = self.column("q_halt")
            terms = _sigmoid(q) if name == "halt_sum" else -np.logaddexp(np.float32(0), q)
            return terms.cumsum(1, dtype=np.float32)
        if name == "pooled_z_H" and self.pooled_z_H is not None:
            return self.pooled_z_H.astype(np.float32)
        how = "; record it with `hrm-rl trace RUN --out BANK"
        how += " --pooled`" if name == "pooled_z_H" else "`"
        recordable = name == "pooled_z_H" or name in FEATURES
        raise ValueError(f"the rule needs feature {name!r}, which this bank lacks{how if recordable else ''}")

    # --- files ------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank; the file appears whole or not at all.

        Raises ValueError naming the column if one holds NaN, or infinity where that has no meaning;
        OSError if the file cannot be written.
        """
        write_bank(path, self.header, self._arrays() | {"first_correct": self.first_correct})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a bank. Raises ValueError naming the file and what is wrong, or FileNotFoundError."""
        header, arrays = read_bank(path)
        first_correct = arrays.pop("first_correct")
        try:
            bank = cls(header=header, **arrays)
            if bank.header.puzzles_hash != header.puzzles_hash:
                raise ValueError("the puzzles are not those of the header (puzzles_hash differs)")
            if not np.array_equal(first_correct, bank.first_correct):
                raise ValueError("first_correct does not follow from correct")
            check_values(bank._arrays(), "it is damaged")
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return bank

    def _arrays(self) -> dict[str, Any]:
        names = (field.name for field in fields(self) if field.name != "header")
        return {name: getattr(self, name) for name in names}


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)) in float32, without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
