"""Evaluation on ARC: every test pair under every augmentation, and a vote on the answers."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hrm_rl.distributed.ranks import ALONE, Ranks
from hrm_rl.evaluation.evaluate import evaluate
from hrm_rl.halting import HaltingRule
from hrm_rl.model import ReasoningModel
from hrm_rl.puzzles.arc.table import ArcTable
from hrm_rl.puzzles.arc.tokens import VOCAB_SIZE
from hrm_rl.puzzles.arc.vote import Voting

# Batches read into memory at a time: a batch's rows are refilled within them.
_BATCHES_AT_ONCE = 16


def vote(
    model: ReasoningModel,
    table: ArcTable,
    rule: HaltingRule | str = "q",
    *,
    rows: ArrayLike | None = None,
    max_segments: int | None = None,
    batch_size: int = 256,
    ranks: Ranks = ALONE,
) -> Voting:
    """Answer rows of an evaluation table, each once, and count the answers as votes.

        voting = vote(model, ArcTable(augment(load("arc-agi-1")), "evaluation"))
        voting.score()["pass@2"]["all_tests"]

    Args:
        model: trained with the table's identifiers.
        table: without translation.
        rule: a vote's weight is q_halt at its stop.
        rows: of the table, int [K]; all by default.
        max_segments: as in `evaluate`.
        batch_size: as in `evaluate`.
        ranks: as in `evaluate`.

    Raises:
        ValueError: a model of other boards, tokens, or fewer identifiers; a table that translates.
    """
    config, ids = model.config, table.augmented.num_ids
    if (config.seq_len, config.vocab_size) != (table.seq_len, VOCAB_SIZE):
        raise ValueError(
            f"the table has {table.seq_len} cells and {VOCAB_SIZE} tokens; the model was made for "
            f"{config.seq_len} and {config.vocab_size}"
        )
    if config.num_puzzle_identifiers < ids and config.puzzle_emb_ndim:
        raise ValueError(
            f"the table has {ids} identifiers, the model num_puzzle_identifiers="
            f"{config.num_puzzle_identifiers}: were its tasks augmented alike?"
        )
    voting = Voting(table)
    wanted = np.arange(len(table)) if rows is None else np.atleast_1d(np.asarray(rows))
    size = _BATCHES_AT_ONCE * batch_size * ranks.count
    for start in range(0, len(wanted), size):
        part = wanted[start : start + size]
        options: Any = {"max_segments": max_segments, "batch_size": batch_size, "ranks": ranks}
        found = evaluate(model, table.take(part), rule, puzzle_keys=part, **options)
        voting.add(part, found.answers, found.q_halt)
    return voting
