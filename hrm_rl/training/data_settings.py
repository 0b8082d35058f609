"""The data settings of a preset: the puzzles to learn from and to validate on."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hrm_rl.files import local_path
from hrm_rl.puzzles import FAMILIES, CustomPuzzles, find_family, make_family
from hrm_rl.puzzles.arc.family import ArcPuzzles
from hrm_rl.puzzles.base.tokens import check_shape
from hrm_rl.puzzles.family import Family
from hrm_rl.puzzles.files.dataset import read_relations
from hrm_rl.puzzles.files.metadata import Metadata, read_metadata
from hrm_rl.puzzles.sudoku import Sudoku
from hrm_rl.settings import LARGEST_SEED, SettingError, about, check_at_least, check_integers, restore
from hrm_rl.training.curriculum import read_phases

CUSTOM, ARC = CustomPuzzles.name, ArcPuzzles.name
STORED = (CUSTOM, ARC)
"""Families that come from files alone."""
# Former names of families, which stored runs and config files may have.
_OLD_NAMES = {"own": CUSTOM}


@dataclass(frozen=True, kw_only=True)
class CommonData:
    """The settings that all families have."""

    @property
    def kind(self) -> Family | CustomPuzzles:
        """The family with its dials."""
        raise NotImplementedError

    train_puzzles: int = 1000
    """Distinct puzzles (of a dataset folder, groups; of ARC, the first training and the first evaluation
    tasks), or all there are. Each time one is drawn, a random
    symmetry of its family is applied, if it has any."""
    validation_puzzles: int = 256
    """Distinct puzzles (of a dataset folder, examples) of classes held out of training and test, judged at
    every validation."""
    seed: int = 0
    """Seed of the generated puzzles."""
    curriculum: str = ""
    """Phases before the run's own puzzles, with other dials: "600 extra_givens=0..57" learns from puzzles of
    0 to 57 extra givens before step 600; ";" separates phases. Validation puzzles are the run's own. With
    another max_steps the phases of a preset stretch."""
    file: str | None = None
    """A file to learn from instead of generated puzzles, or the name of one of the reference's datasets,
    such as maze-30x30-hard-1k. In a CSV (source,question,answer,rating), puzzles of validation classes
    only validate and those of test classes are not used. In a dataset folder of the reference's format,
    validation classes of train/ validate and test/ is not used. Of ARC, the test pairs of a sixteenth of the
    training tasks validate, and those of evaluation tasks are not used."""

    @property
    def phases(self) -> tuple[tuple[int, Family], ...]:
        """The curriculum: steps, and the family whose puzzles are learned from before each.

        Raises ValueError for phases in another form, or dials that the family lacks.
        """
        read = read_phases(self.curriculum)
        if not read:
            return ()
        kind = self.kind
        if isinstance(kind, CustomPuzzles) or self.file is not None:
            message = "a curriculum is for generated puzzles; these come from a file"
            raise SettingError(message, "curriculum", "file")
        with about("curriculum"):
            phases = tuple((phase.until, kind.with_dials({**kind.dials(), **phase.dials})) for phase in read)
        for _, other in phases:
            if (other.seq_len, other.vocab_size) != (kind.seq_len, kind.vocab_size):
                message = f"curriculum: {other.words} does not have the cells and tokens of {kind.words}"
                raise SettingError(message, "curriculum")
        return phases

    def _check_counts(self) -> None:
        _ = self.phases
        counts = ("train_puzzles", "validation_puzzles")
        check_at_least(self, 1, *counts)
        check_integers(self, 1, *counts)
        check_integers(self, 0, "seed", most=LARGEST_SEED)


@dataclass(frozen=True)
class SudokuData(CommonData):
    """Sudokus to learn from and to validate on."""

    family: ClassVar[str] = "sudoku"

    size: int = 9
    """Width of the board: 4, 6 or 9. The model's vocab_size and seq_len follow it."""
    extra_givens: tuple[int, int] = (0, 0)
    """Givens beyond a minimal puzzle, an inclusive range."""

    def __post_init__(self) -> None:
        _ = self.kind
        self._check_counts()

    @property
    def kind(self) -> Sudoku:
        """The family with its dials."""
        return Sudoku(self.size, self.extra_givens)


@dataclass(frozen=True)
class FamilyData(CommonData):
    """Puzzles of another family to learn from and to validate on."""

    family: str
    """Family of the puzzles: sudoku (with size and extra_givens), any other of `hrm-rl puzzles` (with dials),
    custom, any puzzles in a dataset folder (data.file), or arc, a folder of ARC's task files (dials size,
    augmentations, translate)."""
    dials: Mapping[str, Any] = field(default_factory=dict)
    """Dials of any family but sudoku, by name, as the family's page has them; the others keep their
    defaults. The model's vocab_size and seq_len follow."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", _OLD_NAMES.get(self.family, self.family))
        if self.family == CUSTOM:
            if self.dials:
                message = f"custom puzzles have no dials, got {dict(self.dials)}"
                raise SettingError(message, "dials", "family")
            if self.file is None:
                message = "family custom needs the dataset folder that has the puzzles: file"
                raise SettingError(message, "family", "file")
        elif self.family == "sudoku":
            raise ValueError("family sudoku is SudokuData")
        else:
            if self.family != ARC:
                with about("family"):
                    find_family(self.family)
            _ = self.kind
        self._check_counts()

    @property
    def kind(self) -> Family | CustomPuzzles:
        """The family with its dials; custom puzzles have the shape that their folder has."""
        if self.family == ARC:
            with about("dials"):
                return ArcPuzzles.with_dials(self.dials)
        if self.family != CUSTOM:
            return _family(self.family, self.dials)
        metadata = folder_metadata(self)
        if metadata is None:
            raise ValueError(f"family custom needs a dataset folder; {self.file} is not one")
        related = read_relations(str(self.file), metadata.seq_len)
        return CustomPuzzles(metadata.vocab_size, metadata.seq_len, related)


PuzzleData = SudokuData | FamilyData


def data_from_dict(values: Mapping[str, Any]) -> PuzzleData:
    """The settings that `dataclasses.asdict` wrote; without a family they are Sudoku's."""
    given = _local(values)
    if given.get("family", "sudoku") == "sudoku":
        given.pop("family", None)
        return restore(SudokuData, given)
    return restore(FamilyData, given)


def _local(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with their path as this locale writes it."""
    values, file = dict(given), given.get("file")
    return values if file is None else values | {"file": local_path(file)}


def change_data(data: PuzzleData, given: Mapping[str, Any]) -> PuzzleData:
    """The settings with the given changes; other dials keep their values. With another family, the settings
    that all families have are kept.

    Raises ValueError for a setting of another family, or out of range.
    """
    changes = _local(given)
    if not {"family", "size", "dials", "file"}.isdisjoint(changes):
        changes.setdefault("curriculum", "")  # made for the puzzles of before
    family = changes.pop("family", data.family)
    family = _OLD_NAMES.get(family, family)
    if family not in (*FAMILIES, *STORED):
        with about("family"):
            find_family(family)  # raises
    if family == "sudoku":
        dials = changes.pop("dials", {})
        _family(family, dials)
        for name in dials.keys() & changes.keys():
            raise SettingError(f"{name} is given twice, as a setting of data and in data.dials", name)
        changes |= dials
    else:
        foreign = [name for name in ("size", "extra_givens") if name in changes]
        if foreign:
            message = f"{foreign[0]} is a setting of sudoku; {family} has dials"
            if family == ARC or (family in FAMILIES and foreign[0] in find_family(family).ranges()):
                message += f': use --data.dials "{foreign[0]}={changes[foreign[0]]}"'
            raise SettingError(message, *foreign)
        kept = data.dials if isinstance(data, FamilyData) and data.family == family else {}
        changes["dials"] = {**kept, **changes.get("dials", {})}
    if family == data.family:
        return dataclasses.replace(data, **changes)
    changes = {f.name: getattr(data, f.name) for f in dataclasses.fields(CommonData)} | changes
    return SudokuData(**changes) if family == "sudoku" else FamilyData(family, **changes)


def folder_metadata(data: PuzzleData) -> Metadata | None:
    """Metadata of the dataset folder that a run learns from; None if it learns from none.

    Raises ValueError if the folder does not have the format.
    """
    if data.file is None or not Path(data.file).is_dir():
        return None
    return read_metadata(Path(data.file) / "train" / "dataset.json")


def check_folder(kind: Family | CustomPuzzles, place: str | Path, folder: Metadata) -> None:
    """Raise ValueError if a dataset folder has not the family's cells, or other tokens."""
    hint = " (hrm-rl train learns any puzzles of a folder with --data.family custom)"
    check_shape(kind, place, folder.vocab_size, folder.seq_len, hint)


def model_needs(data: PuzzleData) -> dict[str, int]:
    """The settings of a model that these puzzles fix. Raises ValueError as `folder_metadata`."""
    kind = data.kind
    folder = None if data.family == ARC else folder_metadata(data)
    needs = {"vocab_size": kind.vocab_size, "seq_len": kind.seq_len}
    if folder is not None:
        check_folder(kind, f"{data.file}/train", folder)
        needs["num_puzzle_identifiers"] = folder.num_puzzle_identifiers
    if isinstance(kind, ArcPuzzles):
        opened = kind.open(arc_folder(data), data.train_puzzles)
        needs["num_puzzle_identifiers"] = opened.augmented.num_ids
    return needs


def arc_folder(data: PuzzleData) -> str:
    """The folder of a run on ARC tasks. Raises ValueError if none is given."""
    if data.file is None:
        message = (
            "family arc needs a folder of ARC task files (--data FOLDER), such as a copy of "
            "github.com/fchollet/ARC-AGI"
        )
        raise SettingError(message, "family", "file")
    return data.file


def _family(name: str, dials: Mapping[str, Any]) -> Family:
    with about("dials"):
        return make_family(name, dials)
