"""Presets: everything a training run is made of, as frozen dataclasses."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hrm_rl.agents import LearnerConfig
from hrm_rl.model import HRMConfig
from hrm_rl.puzzles import sudoku


@dataclass(frozen=True)
class SudokuData:
    """Which Sudokus to learn from, and which to validate on."""

    size: int = 9
    """Width of the board: 4, 6 or 9. The model's vocab_size and seq_len follow it."""
    extra_givens: tuple[int, int] = (0, 0)
    """Givens beyond a minimal puzzle, an inclusive range."""
    train_puzzles: int = 1000
    """Distinct puzzles; every time one is drawn, a random symmetry is applied."""
    validation_puzzles: int = 256
    """Puzzles of classes held out of training and test, judged at every validation."""
    seed: int = 0
    """Which generated puzzles."""
    file: str | None = None
    """CSV of puzzles (source,question,answer,rating) to learn from instead of generated ones. Those
    of validation classes in it only validate, those of test classes are left alone."""

    def __post_init__(self) -> None:
        sudoku.seq_len(self.size)
        low, high = self.extra_givens
        if not 0 <= low <= high <= self.seq_len:
            raise ValueError(
                f"extra_givens must be two numbers, 0 <= least <= most <= {self.seq_len}, "
                f"got {[low, high]}"
            )
        for name in ("train_puzzles", "validation_puzzles"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")

    @property
    def vocab_size(self) -> int:
        """Tokens of these puzzles: what the model's vocab_size has to be."""
        return sudoku.vocab_size(self.size)

    @property
    def seq_len(self) -> int:
        """Cells of these puzzles: what the model's seq_len has to be."""
        return sudoku.seq_len(self.size)


@dataclass(frozen=True)
class Preset:
    """A training run."""

    name: str
    model: HRMConfig
    learner: LearnerConfig
    data: SudokuData
    batch_size: int = 256
    """Environments side by side; each step trains on one segment of every one."""
    max_steps: int = 1000
    """Steps in all, each a segment of every environment; with halting q each is one of the optimizer's."""
    ema_decay: float = 0.0
    """Decay of the weight average that is evaluated and saved; 0 = none."""
    validate_every: int = 250
    """Steps between validations and checkpoints."""
    log_every: int = 10
    """Steps between two lines of the log."""

    def __post_init__(self) -> None:
        for field in ("batch_size", "max_steps", "validate_every", "log_every"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be >= 1, got {getattr(self, field)}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie in [0, 1), got {self.ema_decay}")
        self.learner.check_limit(self.model.halt_max_steps)

    def with_max_steps(self, max_steps: int) -> "Preset":
        """The same run, longer or shorter; a learning-rate schedule is stretched with it."""
        if max_steps < 1:
            raise ValueError(f"max_steps must be >= 1, got {max_steps}")
        learner = self.learner
        if learner.total_steps is not None:
            learner = dataclasses.replace(learner, total_steps=max_steps)
        return dataclasses.replace(self, max_steps=max_steps, learner=learner)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preset":
        """The run that `to_dict` wrote."""
        rest = {k: v for k, v in values.items() if k not in ("model", "learner", "data")}
        learner = dict(values["learner"])
        data = dict(values["data"])
        learner["betas"] = tuple(learner["betas"])
        data["extra_givens"] = tuple(data["extra_givens"])
        return cls(
            model=HRMConfig.from_dict(values["model"]),
            learner=LearnerConfig(**learner),
            data=SudokuData(**data),
            **rest,
        )


def _small_sudoku(
    size: int, hidden_size: int, heads: int, limit: int, expansion: float = 4.0
) -> HRMConfig:
    """A model of a few hundred thousand parameters. One-dimensional RoPE learns nothing at these
    sizes, so positions are learned; there is one kind of puzzle, so no puzzle embedding."""
    return HRMConfig(
        vocab_size=size + 2,
        seq_len=size * size,
        puzzle_emb_ndim=0,
        hidden_size=hidden_size,
        num_heads=heads,
        H_layers=1,
        L_layers=1,
        expansion=expansion,
        pos_encodings="learned",
        halt_max_steps=limit,
    )


_SMALL_LEARNER = LearnerConfig(
    optimizer="adamw",
    lr=2e-3,
    weight_decay=0.1,
    warmup_steps=100,
    lr_min_ratio=0.05,
    total_steps=1500,
)
# Larger boards: easy puzzles in the mix teach the rules of the game, and a longer gradient makes that
# happen sooner; a quarter of the bootstrap targets does.
_LONGER_LEARNER = dataclasses.replace(
    _SMALL_LEARNER,
    lr=1.5e-3,
    warmup_steps=200,
    total_steps=4000,
    gradient="last-cycle",
    q_target="subsample:0.25",
)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="sudoku-4x4",
            model=_small_sudoku(4, hidden_size=96, heads=4, limit=8),
            learner=_SMALL_LEARNER,
            data=SudokuData(size=4, extra_givens=(0, 2), train_puzzles=20_000),
            max_steps=1500,
            ema_decay=0.98,
        ),
        Preset(
            name="sudoku-6x6",
            model=_small_sudoku(6, hidden_size=128, heads=4, limit=16, expansion=2.0),
            learner=_LONGER_LEARNER,
            data=SudokuData(size=6, extra_givens=(0, 20), train_puzzles=20_000),
            batch_size=128,
            max_steps=4000,
            ema_decay=0.99,
        ),
        Preset(
            name="sudoku-extreme",
            model=HRMConfig(vocab_size=11, seq_len=81),
            learner=LearnerConfig(),
            data=SudokuData(size=9, train_puzzles=1000),
            batch_size=768,
            max_steps=26_041,
            validate_every=1000,
        ),
    )
}


def find_preset(name: str) -> Preset:
    """The preset of that name. Raises ValueError with the near matches."""
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name, PRESETS, n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(f"unknown preset {name!r}; {hint}known: {', '.join(PRESETS)}")
