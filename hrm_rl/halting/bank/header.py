"""The header and column names of trace banks, and hashes of puzzles. NumPy only."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.settings import SettingError, check_integers

FORMAT_VERSION = 1
"""Version of the file; a reader of another version refuses it."""

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

COUNTS = ("unchanged_for",)
"""The features that are integers."""


@dataclass(frozen=True)
class BankHeader:
    """The provenance of a bank."""

    model_hash: str = ""
    """`hrm_rl.model.files.fingerprint.model_hash` of the recorded model."""
    puzzles_hash: str = ""
    """`puzzles_hash` of the puzzles; set by the bank itself."""
    created: str = ""
    """ISO 8601, UTC."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of hrm_rl, torch, numpy and python."""
    halt_max_steps: int = 0
    """Segments the model was trained for; a bank may hold more or fewer. 0 = unknown."""
    trained_rule: str = "q"
    """Spec of the halting rule that the model was trained with."""
    preset: str | None = None
    """Preset of the run."""
    step: int = 0
    """Training step of the weights; 0 = unknown."""
    dtype: str = "float32"
    """Precision that the model computed in."""
    device: str = "cpu"
    """Kind of device that it computed on."""
    seconds_per_segment: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds of one segment by batch size, on the recording machine."""
    cpu_share: float | None = None
    """Share of the timing in which the recording process ran; clearly below 1 on a crowded machine. None =
    unknown."""
    gflop_per_segment: Mapping[str, float] = field(default_factory=dict)
    """GFLOP of one segment of one puzzle, counted from the model, a multiply-add as two: `segment`, and of
    these `logits`. Empty = unknown."""
    note: str = ""
    trajectories: str = ""
    """How the trajectories of a puzzle differ: start, views, noise:SIGMA, or several; "" of one a puzzle."""

    def __post_init__(self) -> None:
        check_integers(self, 0, "halt_max_steps", "step")
        if not all(0 <= value < np.inf for value in self.gflop_per_segment.values()):
            raise SettingError("gflop_per_segment must be numbers >= 0", "gflop_per_segment")
        for size, seconds in self.seconds_per_segment.items():
            if not (size.isascii() and size.isdigit() and int(size) > 0 and 0 < seconds < np.inf):
                message = "seconds_per_segment must be seconds by batch size, both > 0, got "
                raise SettingError(f"{message}{size!r}: {seconds}", "seconds_per_segment")


def puzzles_hash(inputs: ArrayLike, labels: ArrayLike) -> str:
    """A hash of puzzles and solutions in their order, int [N, S] both: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for tokens in (inputs, labels):
        array = np.ascontiguousarray(tokens, dtype="<i4")
        digest.update(f"{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def puzzle_ids(inputs: ArrayLike, labels: ArrayLike) -> NDArray[np.uint64]:
    """A hash of each puzzle with its solution, uint64 [N], to find puzzles that two sets share."""
    from hrm_rl.puzzles.base.counter_rng import stream_keys  # loads numba

    return stream_keys(*np.asarray(inputs).T, *np.asarray(labels).T)
