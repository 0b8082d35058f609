"""Presets: all settings of a training run, as one frozen dataclass, and the named ones."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hrm_rl.agents import LearnerConfig
from hrm_rl.messages import did_you_mean
from hrm_rl.model import HRMConfig
from hrm_rl.settings import (
    SettingError,
    check_at_least,
    check_integers,
    check_interval,
    check_one_of,
    restore,
    typed,
    within,
)
from hrm_rl.training.data_settings import FamilyData, PuzzleData, SudokuData, data_from_dict

InitIds = Literal["keep", "reset"]
OnNan = Literal["stop", "skip", "roll-back"]
ON_NAN: tuple[OnNan, ...] = ("stop", "skip", "roll-back")
INIT_IDS: tuple[InitIds, ...] = ("keep", "reset")


@dataclass(frozen=True)
class Preset:
    """A training run, built from a preset, a config file and options by `hrm_rl.training.config`."""

    name: str
    model: HRMConfig
    learner: LearnerConfig
    data: PuzzleData
    batch_size: int = 256
    """Parallel environments; each step trains on one segment of each. If it is not given, a CPU that would
    take more than 20 s a step gets a smaller one."""
    max_steps: int = 1000
    """Steps of the run, each one segment of every environment; also optimizer steps with halting_loss q."""
    ema_decay: float = 0.0
    """Decay of the weight average that is evaluated and saved; 0 keeps none."""
    validate_every: int = 250
    """Steps between validations, each with a checkpoint."""
    checkpoint_minutes: float = 10.0
    """Minutes after which a checkpoint is made between validations; 0: never. It changes neither the run nor
    its log."""
    log_every: int = 10
    """Steps between lines of the log."""
    keep: int = 2
    """Newest checkpoints to keep, beside the best one (RUN@best)."""
    on_nan: OnNan = "stop"
    """What follows a value that is NaN or infinite. stop: training ends; its checkpoints are good. skip: an
    update whose gradients or weights would not be finite is left out, and rows whose carry is not finite get
    a fresh one; the step counts, and training ends after 100 in a row. roll-back: at the next line of the
    log, return to the newest checkpoint and go on from there with the puzzles that come next; training ends
    at the fourth time from one checkpoint."""
    init: str | None = None
    """Weights to start from: a run (RUN, RUN@500, RUN@best), a model folder, a Hub id, or a checkpoint of the
    reference. Optimizer, step and carry are fresh. The model's settings are the weights'; only H_cycles,
    L_cycles, halt_max_steps, halt_exploration_prob and, without learned positions, seq_len may differ."""
    init_ids: InitIds = "keep"
    """keep: each puzzle id keeps the weights' row of its number, and ids beyond them get fresh rows (zero).
    reset: every row is fresh, for other puzzles."""

    def __post_init__(self) -> None:
        counts = ("batch_size", "max_steps", "validate_every", "log_every")
        check_at_least(self, 1, *counts)
        check_integers(self, 1, *counts, "keep")
        check_at_least(self, 0, "checkpoint_minutes")
        check_interval(self, "[0, 1)", "ema_decay")
        check_one_of(self, INIT_IDS, "init_ids")
        check_one_of(self, ON_NAN, "on_nan")
        if not isinstance(self.init, str | None):
            raise SettingError(f"init must be the name of a run or model, got {self.init!r}", "init")
        if self.init is None and self.init_ids != "keep":
            raise SettingError("init_ids is for a run that starts from weights: give init", "init_ids")
        if self.learner.train_only == "puzzle-embedding":
            self._check_embedding()
        self.learner.check_limit(self.model.halt_max_steps)

    def _check_embedding(self) -> None:
        reason = None if self.model.embedding_width else "the model has none (puzzle_emb_ndim is 0)"
        if self.init is None:
            reason = "all else would stay random; give the weights to start from, init"
        if reason is not None:
            message = f"train_only 'puzzle-embedding' trains only the puzzle embedding: {reason}"
            raise SettingError(message, "learner.train_only")

    def with_max_steps(self, max_steps: int) -> "Preset":
        """The run with another length; a learning-rate schedule is stretched to it."""
        changed = dataclasses.replace(self, max_steps=max_steps)
        if self.learner.total_steps is None:
            return changed
        learner = dataclasses.replace(self.learner, total_steps=max_steps)
        return dataclasses.replace(changed, learner=learner)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preset":
        """The preset that `to_dict` wrote, by this or an earlier version.

        Raises SettingError naming a field of the wrong type or range, or KeyError for a missing table.
        """
        found: dict[str, Any] = dict(values)
        parts = {"model": HRMConfig.from_dict, "learner": LearnerConfig.from_dict, "data": data_from_dict}
        for name, read in parts.items():
            table = typed(found[name], Mapping[str, Any], name)
            with within(name):
                found[name] = read(table)
        return restore(cls, found)


# --- the presets: add one to the list below -------------------------------------------------------


def _small(
    name: str,
    data: PuzzleData,
    max_steps: int,
    *,
    model: Mapping[str, Any],
    learner: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Preset:
    """A preset of a few hundred thousand parameters, with what it changes in the small model and learner.

    At these sizes one-dimensional RoPE learns nothing of boards, so positions are learned; there is one kind
    of puzzle, so no puzzle embedding.
    """
    small_model: dict[str, Any] = {
        "puzzle_emb_ndim": 0,
        "H_layers": 1,
        "L_layers": 1,
        "pos_encodings": "learned",
    }
    small_learner: dict[str, Any] = {
        "optimizer": "adamw",
        "lr": 2e-3,
        "weight_decay": 0.1,
        "warmup_steps": 100,
        "lr_min_ratio": 0.05,
        "total_steps": max_steps,
        # The same gradient on average as `full` and a third less work: experiments/q_targets.
        "q_target": "subsample:0.125",
    }
    return Preset(
        name,
        HRMConfig(data.kind.vocab_size, data.kind.seq_len, **(small_model | dict(model))),
        LearnerConfig(**(small_learner | dict(learner or {}))),
        data,
        max_steps=max_steps,
        **settings,
    )


def _paper(
    name: str, data: PuzzleData, *, learner: Mapping[str, Any] | None = None, **settings: Any
) -> Preset:
    """A preset of the paper's 27 million parameters."""
    model = HRMConfig(data.kind.vocab_size, data.kind.seq_len)
    usual: dict[str, Any] = {"batch_size": 768, "max_steps": 26_041, "validate_every": 1000}
    return Preset(name, model, LearnerConfig(**(learner or {})), data, **(usual | settings))


# For boards of about a hundred cells. With learned positions even near-solved Sudokus stop at a fifth solved.
_BOARD: dict[str, Any] = {
    "hidden_size": 128,
    "num_heads": 8,
    "H_layers": 2,
    "L_layers": 2,
    "H_cycles": 1,
    "L_cycles": 1,
    "expansion": 2.0,
    "pos_encodings": "rope-2d",
    "rope_theta": 30.0,
    "relation_bias": True,
    "halt_max_steps": 8,
}
_BOARD_LEARNER = {
    "lr": 1.5e-3,
    "warmup_steps": 200,
    "token_loss": "softmax",
    "gradient": "full",
    "q_target": "subsample:0.25",
}

_PRESETS = [
    # "small" is a start for other puzzles (--data): without them it learns those of sudoku-4x4.
    *(
        _small(
            name,
            SudokuData(size=4, extra_givens=(0, 2), train_puzzles=20_000),
            max_steps=1500,
            model={"hidden_size": 96, "num_heads": 4, "halt_max_steps": 8},
            ema_decay=0.98,
        )
        for name in ("sudoku-4x4", "small")
    ),
    # The same puzzles and no more time a step: one block in place of two, a whole recursion differentiated.
    _small(
        "sudoku-4x4-trm",
        SudokuData(size=4, extra_givens=(0, 2), train_puzzles=20_000),
        max_steps=1500,
        model={
            "architecture": "trm",
            "hidden_size": 80,
            "num_heads": 4,
            "mixer": "mlp",
            "mixer_width": 48,
            "pos_encodings": "none",
            "halt_max_steps": 8,
        },
        learner={"gradient": "last-cycle", "q_target": "none"},
        ema_decay=0.98,
    ),
    # Easy puzzles in the mix teach the rules of the game; a longer gradient does so sooner, and a quarter of
    # the bootstrap targets is enough. With learned positions and without the relation bias one run of two
    # stayed below a tenth solved.
    _small(
        "sudoku-6x6",
        SudokuData(size=6, extra_givens=(0, 20), train_puzzles=20_000),
        max_steps=2000,
        model={
            "hidden_size": 128,
            "num_heads": 4,
            "expansion": 2.0,
            "pos_encodings": "rope-2d",
            "rope_theta": 30.0,
            "relation_bias": True,
            "halt_max_steps": 16,
        },
        learner={"lr": 1.5e-3, "warmup_steps": 200, "gradient": "last-cycle", "q_target": "subsample:0.25"},
        batch_size=128,
        ema_decay=0.99,
    ),
    # One segment does not see sixteen bits, so the model must carry what it knows to the next. A short cycle
    # makes a segment cheap, so its gradient may be whole.
    _small(
        "prefix-parity",
        FamilyData("prefix-parity", {"length": 16, "min_length": 4}, train_puzzles=20_000),
        max_steps=1500,
        model={"hidden_size": 64, "num_heads": 4, "H_cycles": 1, "halt_max_steps": 8},
        learner={"gradient": "full", "q_target": "subsample:0.25"},
        ema_decay=0.99,
    ),
    # The relation bias gives the model the units of the board. Near-solved puzzles teach the rules of the
    # game; then come harder ones.
    _small(
        "sudoku-9x9",
        SudokuData(
            size=9,
            extra_givens=(0, 14),
            curriculum="600 extra_givens=0..57; 1900 extra_givens=0..25",
            train_puzzles=40_000,
        ),
        max_steps=4500,
        model=_BOARD,
        learner=_BOARD_LEARNER,
        batch_size=128,
        validate_every=500,
        ema_decay=0.995,
    ),
    # The installed model of sudoku-9x9 goes on: harder puzzles, and twice the segments to think.
    _small(
        "sudoku-9x9-long",
        SudokuData(size=9, extra_givens=(0, 8), curriculum="2500 extra_givens=0..14", train_puzzles=100_000),
        max_steps=8500,
        model=_BOARD | {"halt_max_steps": 16},
        learner=_BOARD_LEARNER | {"lr": 1e-3},
        batch_size=128,
        validate_every=500,
        ema_decay=0.999,
        init="pretrained:sudoku-9x9",
    ),
    # Mazes of random walls: most have several shortest paths, and each of them is a valid answer.
    _small(
        "maze",
        FamilyData("maze", {"size": 11, "min_path": 11}, train_puzzles=60_000),
        max_steps=1800,
        model=_BOARD,
        learner=_BOARD_LEARNER,
        batch_size=128,
        ema_decay=0.99,
    ),
    # Few augmentations, so that each version of a task is seen often enough to learn its embedding.
    _small(
        "arc-small",
        FamilyData("arc", {"size": 10, "augmentations": 16, "translate": False}),
        max_steps=4500,
        model=_BOARD | {"puzzle_emb_ndim": 256, "num_heads": 4, "relation_bias": False, "halt_max_steps": 4},
        learner=_BOARD_LEARNER | {"lr": 1e-3, "puzzle_emb_lr": 1e-2, "puzzle_emb_weight_decay": 0.1},
        batch_size=128,
        ema_decay=0.99,
    ),
    # The paper's recipes: the defaults of HRMConfig and LearnerConfig, and as in the reference no average of
    # the weights, which every other preset keeps.
    _paper("sudoku-extreme", SudokuData(size=9)),
    _paper("maze-hard", FamilyData("maze", {"size": 30})),
    _paper(
        "arc-agi-1",
        FamilyData("arc"),
        learner={"weight_decay": 0.1, "puzzle_emb_lr": 1e-2, "puzzle_emb_weight_decay": 0.1},
        max_steps=414_000,
        validate_every=10_000,
    ),
]
PRESETS: dict[str, Preset] = {preset.name: preset for preset in _PRESETS}


def find_preset(name: str) -> Preset:
    """The preset of this name. Raises ValueError with the nearest names."""
    if not isinstance(name, str):
        raise ValueError(f"a preset is given by its name, got {type(name).__name__}")
    if name in PRESETS:
        return PRESETS[name]
    near = did_you_mean(name, PRESETS, most=2, cutoff=0.4)
    hint = f"{near} " if near else ""
    raise ValueError(f"unknown preset {name!r}; {hint}known: {', '.join(PRESETS)}")
