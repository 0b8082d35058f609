"""From a preset's data settings to a source to learn from and puzzles to validate on."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from hrm_rl.envs import PoolSource
from hrm_rl.envs.single import PictureDrawer
from hrm_rl.envs.source import Validator
from hrm_rl.envs.sudoku import sudoku_validator
from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.source import PuzzleArrays
from hrm_rl.training.presets import Preset, SudokuData

# Seeds of the generated pools: another number a split, though their classes differ anyway.
_SEEDS = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and is validated on."""

    source: PoolSource
    validation: PuzzleArrays
    validator: Validator
    description: str
    picture: PictureDrawer | None = None
    """Draws one puzzle; None where its kind has no picture."""


def training_data(data: SudokuData, device: str = "cpu") -> TrainingData:
    """Puzzles to learn from and puzzles of other classes to validate on.

    A file is divided by class, as generated puzzles are: its training classes are learned from, its
    validation classes validate (generated puzzles where it has none), its test classes are left alone.

    Raises ValueError or FileNotFoundError naming the file and line, or the setting.
    """
    if data.file is None:
        train = sudoku.generate(
            data.train_puzzles,
            data.size,
            seed=data.seed,
            extra_givens=data.extra_givens,
            split="train",
        )
        validation = _validation(data)
        description = f"{len(train):,} generated puzzles"
    else:
        train, validation, description = _from_file(data, data.file)
    validator = sudoku_validator(data.size, device)
    source = PoolSource(
        train,
        sudoku.vocab_size(data.size),
        symmetry=sudoku.symmetry(data.size),
        device=device,
        validator=validator,
    )
    picture = partial(sudoku.picture, size=data.size)
    return TrainingData(source, validation, validator, description, picture)


def _validation(data: SudokuData) -> PuzzleArrays:
    return sudoku.generate(
        data.validation_puzzles,
        data.size,
        seed=data.seed + _SEEDS["validation"],
        extra_givens=data.extra_givens,
        split="validation",
    )


def _from_file(data: SudokuData, file: str) -> tuple[PuzzleArrays, PuzzleArrays, str]:
    puzzles = sudoku.read_csv(file, data.size)
    keys = sudoku.class_key(puzzles.inputs, data.size)

    def sample(split: str, count: int) -> PuzzleArrays:
        return _sample(puzzles.take(sudoku.in_split(keys, split)), count, data.seed)

    train = sample("train", data.train_puzzles)
    _refuse_ambiguous(train, data.size, file)
    if not len(train):
        raise ValueError(f"{file} has no puzzle of a training class among its {len(puzzles)}")
    validation = sample("validation", data.validation_puzzles)
    _refuse_ambiguous(validation, data.size, file)
    origin = "the validation classes in it"
    if not len(validation):
        validation, origin = _validation(data), "generated ones"
    return train, validation, f"{len(train):,} puzzles of {file} (validating on {origin})"


def _refuse_ambiguous(puzzles: PuzzleArrays, size: int, file: str) -> None:
    """ValueError where a puzzle that was taken has several solutions; the file is read again to say
    which line that is."""
    if len(puzzles) and (sudoku.solve(puzzles.inputs, size).solutions_found > 1).any():
        sudoku.read_csv(file, size, unique=True)


def _sample(puzzles: PuzzleArrays, count: int, seed: int) -> PuzzleArrays:
    if len(puzzles) <= count:
        return puzzles
    order = np.random.default_rng(seed).permutation(len(puzzles))
    return puzzles.take(order[:count])


def test_puzzles(preset: Preset, count: int, seed: int = 0) -> PuzzleArrays:
    """Generated puzzles of the run's kind, from classes that no training or validation has seen."""
    return generated_puzzles(preset.data, "test", count, seed)


def generated_puzzles(
    data: SudokuData, split: str, count: int, seed: int = 0, *, rate: bool = False
) -> PuzzleArrays:
    """Generated puzzles of the run's kind, from classes of a split; with `rate`, rated.

    Raises ValueError for a split that is none of `sudoku.SPLITS`, or a seed out of range.
    """
    return sudoku.generate(
        count,
        data.size,
        seed=seed + _SEEDS.get(split, 0),
        extra_givens=data.extra_givens,
        split=split,
        rate=rate,
    )
