"""ARC: infer a transformation from pairs of grids, apply it to another grid. Load, augment, vote, draw.

A puzzle is one pair of a task: its input grid on a board of 30x30 cells, in answers its output grid. A puzzle
does not contain its task; a model learns the task as the embedding of its puzzle identifier, from the
task's other pairs, as in the HRM paper. Tokens: PAD 0, EOS 1, color c is c + 2.

    tasks = arc.augment(arc.load("arc-agi-1"), 1000)
    learn = arc.ArcTable(tasks, "training", translate=True)     # examples in millions, made on demand
    test = arc.ArcTable(tasks, "evaluation")
    print(arc.draw(test.take(0).inputs[0]))

Tasks are neither generated nor rated, so ARC is not a `hrm_rl.puzzles.family`.
"""

from hrm_rl.puzzles.arc.augment import Augmented, augment, augmented_name, invert, parse_name, transform
from hrm_rl.puzzles.arc.drawing import PALETTE, draw, picture
from hrm_rl.puzzles.arc.table import SPLITS, ArcTable, Pairs, check_split
from hrm_rl.puzzles.arc.tasks import (
    DATASETS,
    ArcTask,
    Collection,
    Pair,
    combine,
    load,
    read_folder,
    read_task,
)
from hrm_rl.puzzles.arc.tokens import (
    EOS,
    FIRST_COLOR,
    PAD,
    SIDE,
    as_labels,
    crop,
    encode,
    seq_len,
    vocab_size,
)
from hrm_rl.puzzles.arc.vote import Candidate, Voting, is_valid
from hrm_rl.puzzles.base.tokens import is_exact

__all__ = [
    "DATASETS",
    "EOS",
    "FIRST_COLOR",
    "PAD",
    "PALETTE",
    "SIDE",
    "SPLITS",
    "ArcTable",
    "ArcTask",
    "Augmented",
    "Candidate",
    "Collection",
    "Pair",
    "Pairs",
    "Voting",
    "as_labels",
    "augment",
    "augmented_name",
    "check_split",
    "combine",
    "crop",
    "draw",
    "encode",
    "invert",
    "is_exact",
    "is_valid",
    "load",
    "parse_name",
    "picture",
    "read_folder",
    "read_task",
    "seq_len",
    "transform",
    "vocab_size",
]
