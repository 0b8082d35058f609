"""ARC as puzzles to train on, from a folder of task files."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hrm_rl.puzzles.arc.augment import Augmented, augment
from hrm_rl.puzzles.arc.drawing import ArcBoards
from hrm_rl.puzzles.arc.table import ArcTable
from hrm_rl.puzzles.arc.tasks import Collection, Role, read_folder
from hrm_rl.puzzles.arc.tokens import SEQ_LEN, SIDE, VOCAB_SIZE
from hrm_rl.puzzles.base.dials import check_dials, dial, range_of, switch
from hrm_rl.puzzles.pool import CustomPuzzles
from hrm_rl.settings import SettingError


@dataclass(frozen=True)
class ArcPuzzles(CustomPuzzles):
    """Pairs of ARC tasks, augmented."""

    vocab_size: int = field(default=VOCAB_SIZE, init=False)
    seq_len: int = field(default=SEQ_LEN, init=False)
    relations: None = field(default=None, init=False, compare=False)
    size: int = dial(SIDE, 1, SIDE)
    """Cells a side of the board; tasks with a larger grid are left out."""
    augmentations: int = dial(1000, 0, 1000)
    """Most augmented versions of a task, besides itself."""
    translate: bool = switch(True)
    """Put grids at random places of the board in training."""

    name: ClassVar = "arc"

    def __post_init__(self) -> None:
        check_dials(self)
        object.__setattr__(self, "seq_len", self.size**2)

    @classmethod
    def with_dials(cls, dials: Mapping[str, Any]) -> "ArcPuzzles":
        """The puzzles with these dials, the others at their defaults. Raises ValueError for another name."""
        known = {f.name: range_of(f).words for f in dataclasses.fields(cls) if f.metadata}
        for name in dials.keys() - known.keys():
            has = ", ".join(f"{dial} ({words})" for dial, words in known.items())
            raise SettingError(f"{name} is not a dial of {cls.name}; it has {has}", "dials")
        return cls(**dials)

    @property
    def words(self) -> str:
        """As messages call them."""
        return f"ARC tasks on {self.size}x{self.size} cells"

    @property
    def picture(self) -> Any:  # type: ignore[override]
        """Draws one puzzle."""
        return ArcBoards(self.size).picture

    def open(self, folder: str | os.PathLike[str], most: int | None = None) -> "ArcFolder":
        """The tasks of a folder that fit, augmented; of training and of evaluation tasks the first `most`.

        Raises ValueError or FileNotFoundError as `read_folder`, or if no task fits.
        """
        found = read_folder(folder)
        fitting = found.fitting(self.size)
        kept = (fitting if most is None else fitting.first(most)).held_out()
        return ArcFolder(self, augment(kept, self.augmentations), found, fitting)


@dataclass(frozen=True, eq=False)
class ArcFolder:
    """The tasks of a folder that are trained on and evaluated."""

    kind: ArcPuzzles
    augmented: Augmented
    found: Collection
    """All tasks of the folder."""
    fitting: Collection
    """Those whose grids fit the board."""

    def table(self, split: str) -> ArcTable:
        """The examples of a split: train, validation or test. Raises ValueError if there are none."""
        translate = self.kind.translate and split == "train"
        return ArcTable(self.augmented, split, translate, side=self.kind.size)

    def left_out(self, role: Role | None = None) -> int:
        """Number of tasks, of one kind or all, with a grid that is larger than the board."""
        found, fitting = (getattr(part, role or "tasks") for part in (self.found, self.fitting))
        return len(found) - len(fitting)

    @property
    def words(self) -> str:
        """The tasks in numbers."""
        used = self.augmented.collection
        text = f"{len(used.training)} training tasks and the demonstrations of {len(used.validation)} more"
        text += f" (which validate) and of {len(used.evaluation)} evaluation tasks"
        if left_out := self.left_out():
            text += f"; {left_out} tasks left out: a grid is over {self.kind.size}x{self.kind.size}"
        return text
