"""Evaluation on ARC: every test pair under every augmentation, and a vote on the answers."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hrm_rl.agents import HRMAgent
from hrm_rl.envs import PuzzleVectorEnv, SequentialSource
from hrm_rl.halting import HaltingRule
from hrm_rl.model import HRM
from hrm_rl.puzzles.arc.table import ArcTable
from hrm_rl.puzzles.arc.tokens import SEQ_LEN, VOCAB_SIZE
from hrm_rl.puzzles.arc.vote import Ballots


def vote(
    model: HRM,
    table: ArcTable,
    rule: HaltingRule | str = "q",
    *,
    rows: ArrayLike | None = None,
    max_segments: int | None = None,
    batch_size: int = 256,
) -> Ballots:
    """Has a model answer rows of an evaluation table, each once, and collects its votes.

        ballots = vote(model, ArcTable(augment(load("arc-agi-1")), "evaluation"))
        ballots.score()["pass@2"]["all_tests"]

    Args:
        model: trained with the table's identifiers; runs where it is.
        table: without translation.
        rule: for stopping, or its spec string; the vote's weight is q_halt where it stopped.
        rows: of the table, int [K]; all by default.
        max_segments: the limit; the model's halt_max_steps by default.
        batch_size: rows thought about at once.

    Raises:
        ValueError: a model of other boards, tokens, or fewer identifiers; a table that translates.
    """
    config = model.config
    if (config.seq_len, config.vocab_size) != (SEQ_LEN, VOCAB_SIZE):
        raise ValueError(
            f"ARC has {SEQ_LEN} cells and {VOCAB_SIZE} tokens; the model was made for "
            f"{config.seq_len} and {config.vocab_size}"
        )
    ids = table.augmented.num_ids
    if config.num_puzzle_identifiers < ids and config.puzzle_emb_ndim:
        raise ValueError(
            f"the table has {ids} identifiers, the model num_puzzle_identifiers="
            f"{config.num_puzzle_identifiers}: were its tasks augmented alike?"
        )
    ballots = Ballots(table)
    limit = config.halt_max_steps if max_segments is None else max_segments
    wanted = np.arange(len(table)) if rows is None else np.atleast_1d(np.asarray(rows))
    agent = HRMAgent(model, rule)
    was_training = model.training
    model.eval()
    for part in _batches(wanted, batch_size):
        answers, q_halt = _answer(agent, table, part, limit)
        ballots.add(part, answers, q_halt)
    model.train(was_training)
    return ballots


def _batches(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _answer(
    agent: HRMAgent, table: ArcTable, rows: NDArray[np.int64], limit: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Drafts [K, 900] and q_halt [K] where the rule stopped."""
    device = agent.model.device
    source = SequentialSource(
        table.take(rows), VOCAB_SIZE, device=device, num_ids=table.augmented.num_ids
    )
    envs = PuzzleVectorEnv(
        len(rows),
        source,
        halt_max_steps=limit,
        order="epoch",
        autoreset_mode="Disabled",
        device=device,
    )
    # A row that has stopped is frozen: neither its draft nor its q_halt changes any more.
    ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
    q_halt = torch.zeros(len(rows), device=device)
    obs, info = envs.reset(seed=0)
    keys = torch.as_tensor(rows, device=device)
    assert torch.equal(info["puzzle_key"], torch.arange(len(rows), device=device))
    state = None
    while not bool(ended.all()):
        decision = agent.act(obs, state, puzzle_key=keys)
        state = decision.state
        q_halt = torch.where(ended, q_halt, decision.out.q_halt.float())
        obs, _, ended, _, _ = envs.step(decision.action)
    return obs["draft"].cpu().numpy(), q_halt.cpu().numpy()
