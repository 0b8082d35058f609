"""Presets: everything a training run is made of, as frozen dataclasses."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hrm_rl.agents import LearnerConfig
from hrm_rl.messages import did_you_mean
from hrm_rl.model import HRMConfig
from hrm_rl.settings import check_at_least, check_interval
from hrm_rl.training.data_settings import FamilyData, PuzzleData, SudokuData, data_from_dict


@dataclass(frozen=True)
class Preset:
    """A training run."""

    name: str
    model: HRMConfig
    learner: LearnerConfig
    data: PuzzleData
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
        check_at_least(self, 1, "batch_size", "max_steps", "validate_every", "log_every")
        check_interval(self, "[0, 1)", "ema_decay")
        self.learner.check_limit(self.model.halt_max_steps)

    def with_max_steps(self, max_steps: int) -> "Preset":
        """The same run, longer or shorter; a learning-rate schedule is stretched with it."""
        changed = dataclasses.replace(self, max_steps=max_steps)
        if self.learner.total_steps is None:
            return changed
        learner = dataclasses.replace(self.learner, total_steps=max_steps)
        return dataclasses.replace(changed, learner=learner)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preset":
        """The run that `to_dict` wrote."""
        rest = {k: v for k, v in values.items() if k not in ("model", "learner", "data")}
        return cls(
            model=HRMConfig.from_dict(values["model"]),
            learner=LearnerConfig.from_dict(values["learner"]),
            data=data_from_dict(values["data"]),
            **rest,
        )


def _small_sudoku(
    size: int, hidden_size: int, heads: int, limit: int, expansion: float = 4.0
) -> HRMConfig:
    """A model of a few hundred thousand parameters."""
    return _small_model(
        SudokuData(size=size),
        hidden_size=hidden_size,
        num_heads=heads,
        expansion=expansion,
        halt_max_steps=limit,
    )


def _small_model(data: PuzzleData, **settings: Any) -> HRMConfig:
    """One block a module. One-dimensional RoPE learns nothing of boards at these sizes, so positions
    are learned; there is one kind of puzzle, so no puzzle embedding."""
    small: dict[str, Any] = {
        "puzzle_emb_ndim": 0,
        "H_layers": 1,
        "L_layers": 1,
        "pos_encodings": "learned",
    }
    return HRMConfig(
        vocab_size=data.kind.vocab_size, seq_len=data.kind.seq_len, **(small | settings)
    )


_SMALL_LEARNER = LearnerConfig(
    optimizer="adamw",
    lr=2e-3,
    weight_decay=0.1,
    warmup_steps=100,
    lr_min_ratio=0.05,
    total_steps=1500,
    # The same gradient on average as `full` and a third less work: experiments/q_targets.
    q_target="subsample:0.125",
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

# One short cycle a segment: a segment is cheap, so its gradient may be whole.
_SHORT_LEARNER = dataclasses.replace(_SMALL_LEARNER, gradient="full", q_target="subsample:0.25")
# 9x9: with learned positions even near-solved puzzles stop at a fifth solved; with positions by row and
# column the same recipe has four fifths after 500 steps. Segments of one short cycle, their gradient whole.
_SUDOKU_9 = SudokuData(size=9, extra_givens=(0, 57), train_puzzles=20_000)
_PARITY = FamilyData("prefix-parity", {"length": 16, "min_length": 4}, train_puzzles=20_000)

__all__ = ["PRESETS", "FamilyData", "Preset", "PuzzleData", "SudokuData", "find_preset"]

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
            name="prefix-parity",
            # Sixteen bits are more than one segment sees: what it knows it carries on.
            model=_small_model(_PARITY, hidden_size=64, num_heads=4, H_cycles=1, halt_max_steps=8),
            learner=_SHORT_LEARNER,
            data=_PARITY,
            max_steps=1500,
            ema_decay=0.99,
        ),
        Preset(
            name="sudoku-9x9",
            model=_small_model(
                _SUDOKU_9,
                hidden_size=128,
                num_heads=8,
                H_layers=2,
                L_layers=2,
                H_cycles=1,
                L_cycles=1,
                expansion=2.0,
                pos_encodings="rope-2d",
                rope_theta=30.0,
                halt_max_steps=8,
            ),
            learner=dataclasses.replace(
                _SHORT_LEARNER,
                lr=1e-3,
                warmup_steps=200,
                total_steps=3000,
                token_loss="softmax",
            ),
            data=_SUDOKU_9,
            batch_size=128,
            max_steps=3000,
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
    near = did_you_mean(name, PRESETS, most=2, cutoff=0.4)
    hint = f"{near} " if near else ""
    raise ValueError(f"unknown preset {name!r}; {hint}known: {', '.join(PRESETS)}")
