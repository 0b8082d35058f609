"""The trace bank: what a frozen model does on N puzzles, M segments each. NumPy only, no torch.

Halting never changes a frozen model's latent trajectory. So a record of what every segment showed and
would have answered knows the outcome of any rule for stopping, exactly (`hrm_rl.halting.bank.replay`).
`hrm-rl trace` and `hrm_rl.evaluation.record` make banks; docs/trace-banks.md describes the file.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.pool import PuzzleArrays

FORMAT_VERSION = 1
"""Version of the file; a reader of another version refuses it."""

SPLITS = ("train", "validation", "test")

FEATURES = (
    "q_halt",
    "q_continue",
    "confidence",
    "confidence_min",
    "margin",
    "entropy",
    "kl",
    "residual_H",
    "residual_L",
    "changed",
    "unchanged_for",
)
"""The recorded columns of SegmentFeatures; the others follow from them."""

_COUNTS = ("unchanged_for",)


@dataclass(frozen=True)
class BankHeader:
    """Where a bank comes from."""

    model_hash: str = ""
    """`hrm_rl.model.files.fingerprint.model_hash` of the model recorded."""
    puzzles_hash: str = ""
    """`puzzles_hash` of the puzzles; filled in by the bank itself."""
    created: str = ""
    """ISO 8601, UTC."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of hrm_rl, torch, numpy, python."""
    halt_max_steps: int = 0
    """Segments the model was trained for; a bank may hold more or fewer. 0 = unknown."""
    trained_rule: str = "q"
    """Spec of the rule for stopping that the model was trained with."""
    preset: str | None = None
    """Preset of the run."""
    step: int = 0
    """Training step of the weights; 0 = unknown."""
    dtype: str = "float32"
    """What the model computed in."""
    device: str = "cpu"
    """Kind of device it computed on."""
    seconds_per_segment: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds of one segment of a batch of so many puzzles, on the recording machine."""
    note: str = ""


@dataclass(frozen=True, eq=False)
class TraceBank:
    """N puzzles x M segments of S cells; column m is the (m + 1)-th segment.

    Raises ValueError where shapes or split names do not fit. Values (NaN, infinity) are judged when a
    bank is saved or loaded.
    """

    correct: NDArray[np.bool_]
    """[N, M]: the draft is the stored solution."""
    valid: NDArray[np.bool_]
    """[N, M]: the draft is any right answer."""
    cell_accuracy: NDArray[np.float32]
    """[N, M]: share of the asked cells that are right."""
    features: Mapping[str, NDArray[Any]]
    """`FEATURES` by name, [N, M]; see `hrm_rl.halting.SegmentFeatures` for what each is."""
    inputs: NDArray[np.int32]
    """[N, S] tokens."""
    labels: NDArray[np.int32]
    """[N, S] tokens; IGNORE_LABEL where nothing is asked."""
    puzzle_identifiers: NDArray[np.int32]
    """[N]."""
    puzzle_key: NDArray[np.int64]
    """[N]: 0, 1, 2, ... within each split, as live evaluation counts: what `random` draws from."""
    rating: NDArray[np.float32]
    """[N]; NaN = unrated."""
    source: tuple[str, ...]
    """[N] names."""
    split: NDArray[np.str_]
    """[N]: train, validation or test."""
    header: BankHeader = field(default_factory=BankHeader)
    pooled_z_H: NDArray[np.float16] | None = None
    """[N, M, D]: mean of z_H over positions, where it was recorded."""
    drafts: NDArray[np.unsignedinteger[Any]] | None = None
    """[N, M, S]: every draft, where they were recorded."""

    def __post_init__(self) -> None:
        self._convert()
        self._check_shapes()
        digest = puzzles_hash(self.inputs, self.labels)
        if digest != self.header.puzzles_hash:
            object.__setattr__(self, "header", replace(self.header, puzzles_hash=digest))

    def _convert(self) -> None:
        """To the types named above; what has them already is not copied."""
        types: dict[str, Any] = {
            "correct": np.bool_,
            "valid": np.bool_,
            "cell_accuracy": np.float32,
            "inputs": np.int32,
            "labels": np.int32,
            "puzzle_identifiers": np.int32,
            "puzzle_key": np.int64,
            "rating": np.float32,
            "split": np.str_,
        }
        for name, kind in types.items():
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=kind))
        features = {
            name: np.ascontiguousarray(column, np.int64 if name in _COUNTS else np.float32)
            for name, column in self.features.items()
        }
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "source", tuple(self.source))

    def _check_shapes(self) -> None:
        if self.correct.ndim != 2 or 0 in self.correct.shape:
            raise ValueError(
                f"correct must be [puzzles, segments], both >= 1, got shape {self.correct.shape}"
            )
        if self.inputs.ndim != 2:
            raise ValueError(f"inputs must be [puzzles, cells], got shape {self.inputs.shape}")
        (count, segments), cells = self.correct.shape, self.inputs.shape[1]
        columns = {"valid": self.valid, "cell_accuracy": self.cell_accuracy, **self.features}
        wanted: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
            name: (column, (count, segments)) for name, column in columns.items()
        }
        wanted |= {name: (getattr(self, name), (count, cells)) for name in ("inputs", "labels")}
        rows = ("puzzle_identifiers", "puzzle_key", "rating", "split")
        wanted |= {name: (getattr(self, name), (count,)) for name in rows}
        if self.pooled_z_H is not None:
            wanted["pooled_z_H"] = self.pooled_z_H, (count, segments, self.pooled_z_H.shape[-1])
        if self.drafts is not None:
            wanted["drafts"] = self.drafts, (count, segments, cells)
        for name, (array, shape) in wanted.items():
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, the bank wants {shape}")
        if len(self.source) != count:
            raise ValueError(f"source names {len(self.source)} puzzles, the bank holds {count}")
        for name in self.features:
            if name not in FEATURES:
                raise ValueError(f"unknown feature {name!r}; a bank holds {', '.join(FEATURES)}")
        for name in np.unique(self.split):
            if name not in SPLITS:
                raise ValueError(f"unknown split {str(name)!r}; known: {', '.join(SPLITS)}")

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
    def first_correct(self) -> NDArray[np.int64]:
        """Segment of the first correct draft, [N], counted from 1; 0 = never."""
        return np.where(self.correct.any(1), self.correct.argmax(1) + 1, 0).astype(np.int64)

    def correct_under(self, checker: Literal["exact", "valid"]) -> NDArray[np.bool_]:
        """[N, M]: right by the stored solution (`exact`), or any right answer (`valid`)."""
        if checker not in ("exact", "valid"):
            raise ValueError(f"checker must be 'exact' or 'valid', got {checker!r}")
        return self.correct if checker == "exact" else self.valid

    @property
    def puzzles(self) -> PuzzleArrays:
        """The puzzles, for a live run on them."""
        return PuzzleArrays(
            self.inputs, self.labels, self.puzzle_identifiers, self.rating, self.source
        )

    # --- parts ------------------------------------------------------------------------------------

    def take(self, rows: ArrayLike | slice) -> "TraceBank":
        """The bank of these puzzles: integers [K], a bool mask [N] or a slice.

        Keys stay as they are, so `random` decides on a puzzle as it did before.
        Raises ValueError where no puzzle is left.
        """
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            rows = rows if rows.size else rows.astype(np.int64)
        index = np.atleast_1d(np.arange(self.num_puzzles)[rows])
        if not len(index):
            raise ValueError("a bank needs at least one puzzle, got none")
        names = (
            "correct valid cell_accuracy inputs labels puzzle_identifiers puzzle_key rating split"
        )
        arrays: dict[str, Any] = {name: getattr(self, name)[index] for name in names.split()}
        for name in ("pooled_z_H", "drafts"):
            array = getattr(self, name)
            arrays[name] = None if array is None else array[index]
        arrays["features"] = {name: column[index] for name, column in self.features.items()}
        return replace(self, source=tuple(self.source[row] for row in index), **arrays)

    def in_split(self, name: str) -> "TraceBank":
        """The puzzles of one split. Raises ValueError naming the splits there are, if none."""
        where = self.split == name
        if not where.any():
            present = ", ".join(self.counts())
            raise ValueError(f"this bank has no puzzle of split {name!r}; it has {present}")
        return self if where.all() else self.take(where)

    def counts(self) -> dict[str, int]:
        """Puzzles by split, of the splits there are."""
        numbers = {name: int((self.split == name).sum()) for name in SPLITS}
        return {name: number for name, number in numbers.items() if number}

    def truncate(self, max_segments: int) -> "TraceBank":
        """The bank's first segments: the same as if it had been recorded so far only.

        Raises ValueError where it holds fewer.
        """
        self.check_limit(max_segments)
        if max_segments == self.num_segments:
            return self
        names = ("correct", "valid", "cell_accuracy", "pooled_z_H", "drafts")
        arrays: dict[str, Any] = {}
        for name in names:
            array = getattr(self, name)
            arrays[name] = None if array is None else array[:, :max_segments]
        arrays["features"] = {
            name: column[:, :max_segments] for name, column in self.features.items()
        }
        return replace(self, **arrays)

    def check_limit(self, max_segments: int) -> None:
        """Raises ValueError unless 1 <= max_segments <= M."""
        if not 1 <= max_segments <= self.num_segments:
            raise ValueError(
                f"max_segments must be 1..{self.num_segments}, as many as the bank holds; "
                f"got {max_segments}"
            )

    # --- columns ----------------------------------------------------------------------------------

    def column(self, name: str) -> NDArray[Any]:
        """A column of SegmentFeatures, [N, M] (pooled_z_H: [N, M, D], float32), derived ones included.

        Raises ValueError where the bank has none; it says how to record one.
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
            # As the live loop does it: in float32, one segment after the other.
            q = self.column("q_halt")
            terms = _sigmoid(q) if name == "halt_sum" else -np.logaddexp(np.float32(0), q)
            return terms.cumsum(1, dtype=np.float32)
        if name == "pooled_z_H" and self.pooled_z_H is not None:
            return self.pooled_z_H.astype(np.float32)
        how = "; record it with `hrm-rl trace RUN --out BANK"
        how += " --pooled`" if name == "pooled_z_H" else "`"
        recordable = name == "pooled_z_H" or name in FEATURES
        raise ValueError(
            f"the rule needs feature {name!r}, which this bank lacks{how if recordable else ''}"
        )

    # --- files ------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank; the file appears whole or not at all.

        Raises ValueError where a column holds NaN, or infinity where none belongs (it is named);
        OSError where the file cannot be written.
        """
        from hrm_rl.halting.bank.file import write_bank

        write_bank(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "TraceBank":
        """Read a bank. Raises ValueError naming the file and what is wrong, or FileNotFoundError."""
        from hrm_rl.halting.bank.file import read_bank

        return read_bank(path)


def puzzles_hash(inputs: ArrayLike, labels: ArrayLike) -> str:
    """A hash of puzzles and solutions, int [N, S] both, in their order: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for tokens in (inputs, labels):
        array = np.ascontiguousarray(tokens, dtype="<i4")
        digest.update(f"{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def puzzle_ids(inputs: ArrayLike, labels: ArrayLike) -> NDArray[np.uint64]:
    """A hash of each puzzle with its solution, uint64 [N]: to see whether two sets share puzzles."""
    from hrm_rl.puzzles.counter_rng import mix64_array

    tokens = np.concatenate([np.asarray(inputs), np.asarray(labels)], axis=1)
    tokens = tokens.astype(np.int64).view(np.uint64)
    ids = np.zeros(len(tokens), np.uint64)
    for place in range(tokens.shape[1]):
        ids = mix64_array((ids ^ tokens[:, place]) + np.uint64(0x9E3779B97F4A7C15))
    return ids


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)) in float32, without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
