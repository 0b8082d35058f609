"""From a preset's data settings to a source to learn from and puzzles to validate on."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hrm_rl.envs import PoolSource
from hrm_rl.envs.core.rendering import PictureDrawer
from hrm_rl.envs.core.source import Source, Validator
from hrm_rl.envs.families.arc_source import ArcSource
from hrm_rl.envs.families.validators import validator_of
from hrm_rl.halting import puzzles_hash
from hrm_rl.puzzles import CustomPuzzles
from hrm_rl.puzzles.arc.family import ArcPuzzles
from hrm_rl.puzzles.family import Family
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.training.data.arc_files import open_arc
from hrm_rl.training.data.learned import Keys, puzzle_keys
from hrm_rl.training.data.puzzle_files import open_stored
from hrm_rl.training.data_settings import PuzzleData, arc_folder

# Each split has its own seed, though its classes differ anyway.
_SEEDS = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True)
class TrainingData:
    """The puzzles that a run learns from and is validated on."""

    source: Source
    validation: PuzzleArrays
    validator: Validator | None
    description: str
    kind: Family | CustomPuzzles
    pools: tuple[PuzzleArrays, ...]
    """What each source draws from."""
    picture: PictureDrawer | None = None
    """Draws one puzzle; None for custom puzzles."""
    phases: tuple[tuple[int, Source], ...] = ()
    """The curriculum: steps, and the source to learn from before each."""

    def source_at(self, step: int) -> Source:
        """The source to learn from at a step, 0-based."""
        return next((source for until, source in self.phases if step < until), self.source)

    def learned(self) -> Keys:
        """`puzzle_keys` of the puzzles to learn from, each once, sorted."""
        return np.unique(np.concatenate([puzzle_keys(self.kind, pool) for pool in self.pools]))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all of them in their order, with their answers and identifiers."""
        digest = hashlib.sha256()
        for puzzles in (*self.pools, self.validation):
            ids = puzzles.puzzle_identifiers
            for pair in ((puzzles.inputs, puzzles.labels), (ids, ids)):
                digest.update(puzzles_hash(*pair).encode())
        return digest.hexdigest()


def training_data(data: PuzzleData, device: str = "cpu") -> TrainingData:
    """Puzzles to learn from and puzzles of other classes to validate on.

    A CSV file is divided by class, as generated puzzles are: a run learns from its training classes and
    validates on its validation classes (on generated puzzles if it has none); its test classes are not
    used. Of a dataset folder only train/ is read: its validation classes validate, all others are learned
    from. Custom puzzles are divided by group instead of class; one group validates on itself.

    Raises ValueError or FileNotFoundError naming the file and line, or the setting.
    """
    kind, num_ids = data.kind, 1
    if isinstance(kind, ArcPuzzles):
        return _arc_data(data, kind, device)
    if data.file is None:
        train = generated_puzzles(kind, "train", data.train_puzzles, data.seed)
        validation = generated_puzzles(kind, "validation", data.validation_puzzles, data.seed)
        description = f"{len(train):,} generated puzzles"
    else:
        train, validation, num_ids, description = _from_file(data, kind, data.file)
    validator = validator_of(kind)

    def source(puzzles: PuzzleArrays, of: Family | CustomPuzzles) -> PoolSource:
        return PoolSource(
            puzzles,
            of.vocab_size,
            symmetry=of.augmentation,
            device=device,
            validator=validator,
            num_ids=num_ids,
            relations=of.relations,
        )

    others = [generated_puzzles(other, "train", data.train_puzzles, data.seed) for _, other in data.phases]
    phases = tuple(
        (until, source(puzzles, other)) for (until, other), puzzles in zip(data.phases, others, strict=True)
    )
    if phases:
        description += f", after a curriculum of {len(phases)} phase{'s'[: len(phases) > 1]}"
    own, pools = source(train, kind), (train, *others)
    return TrainingData(own, validation, validator, description, kind, pools, kind.picture, phases)


def _arc_data(data: PuzzleData, kind: ArcPuzzles, device: str) -> TrainingData:
    stored = open_arc(arc_folder(data), kind, data.train_puzzles)
    source = ArcSource(stored.table("train"), device)
    pairs = stored.originals()
    validation = stored.sample("validation", data.validation_puzzles, data.seed)
    described = f"{len(pairs):,} pairs in {source.num_ids - 1:,} versions of {stored.folder.words}"
    if not len(validation):
        validation = pairs.take(slice(0, data.validation_puzzles))
        described += "; validating on the pairs learned from: no task could be held out"
    return TrainingData(source, validation, source.validator, described, kind, (pairs,), kind.picture)


def _from_file(
    data: PuzzleData, kind: Family | CustomPuzzles, file: str
) -> tuple[PuzzleArrays, PuzzleArrays, int, str]:
    stored = open_stored(file, kind)
    train = stored.sample("train", data.train_puzzles, data.seed)
    if not len(train):
        raise ValueError(f"{file} has no puzzle of a training class among its {len(stored)}")
    validation = stored.sample("validation", data.validation_puzzles, data.seed)
    parts = "groups" if isinstance(kind, CustomPuzzles) else "classes"
    origin = f"the validation {parts} in it"
    if not len(validation):
        if isinstance(kind, CustomPuzzles):
            # One task, to be learned from few examples: test/ is for its evaluation.
            validation = train.take(slice(0, data.validation_puzzles))
            origin = "the same ones: train/ has one group"
        else:
            validation = generated_puzzles(kind, "validation", data.validation_puzzles, data.seed)
            origin = "generated ones"
    described = f"{len(train):,} of {len(stored):,} puzzles of {file} (validating on {origin})"
    return train, validation, stored.num_ids, described


def generated_puzzles(
    kind: Family | CustomPuzzles, split: str, count: int, seed: int = 0, *, rate: bool = False
) -> PuzzleArrays:
    """Distinct generated puzzles of a family, from classes of a split; rated if `rate`.

    Raises ValueError for an unknown split, a seed out of range, or custom puzzles.
    """
    return kind.generate_distinct(count, seed=seed + _SEEDS.get(split, 0), split=split, rate=rate)
