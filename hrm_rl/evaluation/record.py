"""Recording a frozen model: every puzzle runs to the limit, and each segment's features and draft are kept.

Halting never changes a frozen model's latent trajectory, so the recording, a `TraceBank`, contains the
outcome of every stopping rule.
"""

import dataclasses
import platform
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

import hrm_rl
from hrm_rl.agents import HRMAgent
from hrm_rl.distributed.ranks import ALONE, Ranks
from hrm_rl.envs.core.source import Validator
from hrm_rl.evaluation.evaluate import check_arguments, each_puzzle_once, in_eval_mode
from hrm_rl.evaluation.flops import segment_gflop
from hrm_rl.evaluation.progress import progress_bar
from hrm_rl.evaluation.trajectories import ONE, Rows, Trajectories, answer_ids, small_ids
from hrm_rl.halting import BankHeader, TraceBank
from hrm_rl.halting.bank import FEATURES
from hrm_rl.model import ReasoningModel
from hrm_rl.model.files.fingerprint import model_hash
from hrm_rl.puzzles.pool import PuzzleArrays

_JUDGED = ("correct", "valid", "cell_accuracy")
# Seconds over which one segment is timed repeatedly, and the least and most repetitions.
_TIMING_SECONDS, _TIMING_LEAST, _TIMING_MOST = 0.5, 3, 50

# A segment's judgement and features, and the hash of its draft.
_BYTES = 70

Columns = dict[str, NDArray[Any]]


def record(
    model: ReasoningModel,
    puzzles: PuzzleArrays,
    max_segments: int | None = None,
    *,
    split: str | ArrayLike = "test",
    batch_size: int = 256,
    validator: Validator | None = None,
    pooled: bool = False,
    drafts: bool = False,
    trajectories: Trajectories = ONE,
    header: BankHeader | None = None,
    progress: bool = False,
    ranks: Ranks = ALONE,
) -> TraceBank:
    """Run every puzzle for `max_segments` segments and return the trace bank.

        bank = record(model, puzzles)
        hrm_rl.compare(bank, ["q", "fixed:4", "oracle"])

    Every batch has the same number of rows, the last one padded, so a compiled model compiles once.

    Args:
        model: the network; runs on its device.
        puzzles: N puzzles of the model's length.
        max_segments: M; the model's halt_max_steps by default.
        split: train, validation or test: one name for all puzzles, or one per puzzle.
        batch_size: puzzles in flight at once.
        validator: decides whether an answer is any correct one; without it valid = correct.
        pooled: keep the mean of z_H over positions, in float16.
        drafts: keep every draft.
        trajectories: several of each puzzle, for rules that select among them; one by default.
        header: the caller's facts about the model: trained_rule, preset, step, seconds_per_segment,
            cpu_share, note. The other fields are filled in here.
        progress: show it on stderr (`hrm_rl.evaluation.progress`).
        ranks: processes that each run their share of the puzzles, and return the whole bank.

    Raises:
        ValueError: an unknown split, or as `check_arguments`.
        MemoryError: the bank would exceed the machine's memory.
    """
    limit = 1 if max_segments is None else max_segments
    check_arguments(model, puzzles, validator, max_segments=limit, batch_size=batch_size)
    max_segments = model.config.halt_max_steps if max_segments is None else max_segments
    if header is not None and not isinstance(header, BankHeader):
        raise ValueError(f"header must be a BankHeader, got {type(header).__name__}")
    splits = np.asarray(split, dtype=np.str_)
    if splits.shape not in ((), (len(puzzles),)):
        raise ValueError(f"split must be a name, or {len(puzzles)} of them; got shape {splits.shape}")
    splits = np.broadcast_to(splits, (len(puzzles),))
    keys, numbers = _count_within(splits), ranks.numbers(len(puzzles))
    width = trajectories.width
    check_room(model, len(puzzles), max_segments, trajectories, pooled, drafts)
    every = trajectories.rows(puzzles.take(numbers) if ranks.count > 1 else puzzles, keys[numbers])
    rows = min(batch_size, len(every.puzzles))
    agent = HRMAgent(model, f"fixed:{max_segments}", pooled=pooled, noise=trajectories.noise)
    parts: list[Columns] = []
    with in_eval_mode(model):
        starts = range(0, len(every.puzzles), rows)
        for start in progress_bar(starts, desc="recording", unit="batch", shown=progress):
            few = every.take(slice(start, start + rows))
            part = _record_batch(agent, few, rows, max_segments, validator, drafts or width > 1)
            if width > 1:
                part["draft_ids"] = answer_ids(few.undo_views(part["drafts"]))
            if "drafts" in part:
                part["drafts"] = few.undo_views(part["drafts"])
            parts.append(part if drafts else {name: x for name, x in part.items() if name != "drafts"})
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if width > 1:
        joined = {name: column.reshape(-1, width, *column.shape[1:]) for name, column in joined.items()}
        joined["draft_ids"] = small_ids(joined["draft_ids"])
    columns = {name: ranks.whole_array(column, len(puzzles)) for name, column in joined.items()}
    others = {}
    if width > 1:
        others = {name: column[:, 1:] for name, column in columns.items()}
        columns = {name: column[:, 0] for name, column in columns.items()}
    return TraceBank(
        **{name: columns.pop(name) for name in _JUDGED},
        features={name: columns.pop(name) for name in FEATURES},
        inputs=puzzles.inputs,
        labels=puzzles.labels,
        puzzle_identifiers=puzzles.puzzle_identifiers,
        puzzle_key=keys,
        rating=puzzles.rating,
        source=puzzles.source if puzzles.source is not None else ("",) * len(puzzles),
        split=splits,
        header=_header(model, header or BankHeader(), str(trajectories) if width > 1 else ""),
        pooled_z_H=columns.get("pooled_z_H"),
        drafts=columns.get("drafts"),
        draft_ids=columns.get("draft_ids"),
        others=others,
    )


def check_room(
    model: ReasoningModel, puzzles: int, segments: int, trajectories: Trajectories, pooled: bool, drafts: bool
) -> None:
    """Raise MemoryError, with the estimate, if a bank would exceed the machine's memory."""
    cells = model.config.seq_len if drafts or trajectories.width > 1 else 0
    states = 2 * model.config.hidden_size if pooled else 0
    # Twice: batch by batch, and joined.
    trajectories.check_memory(puzzles, segments, 2 * (_BYTES + cells + states))


def _record_batch(
    agent: HRMAgent, given: Rows, rows: int, max_segments: int, validator: Validator | None, drafts: bool
) -> Columns:
    """The columns of these trajectories, [n, M, ...], run in a batch of `rows` >= n."""
    puzzles, keys, numbers = given.puzzles, *given.tensors(agent.model.device)
    envs = each_puzzle_once(agent.model, puzzles, rows, max_segments, validator, autoreset_mode="Disabled")
    obs, info = envs.reset(seed=0)
    state = None
    columns: dict[str, list[torch.Tensor]] = defaultdict(list)
    row = info["puzzle_key"].clamp_max(len(puzzles) - 1)  # padded rows repeat the last
    for _ in range(max_segments):
        decision = agent.act(obs, state, puzzle_key=keys[row], trajectory=numbers[row])
        obs, _, _, _, info = envs.step(decision.action)
        state, features = decision.state, decision.features
        found = {name: getattr(features, name) for name in FEATURES}
        found |= {name: info[name] for name in _JUDGED}
        if features.pooled_z_H is not None:
            found["pooled_z_H"] = features.pooled_z_H.half()
        if drafts:
            found["drafts"] = obs["draft"]
        for name, column in found.items():
            columns[name].append(column[: len(puzzles)])
    table = {name: torch.stack(column, 1).cpu().numpy() for name, column in columns.items()}
    if drafts:
        small = np.uint8 if agent.model.config.vocab_size <= 1 << 8 else np.uint16
        table["drafts"] = table["drafts"].astype(small)
    return table


def segment_seconds(
    model: ReasoningModel, puzzles: PuzzleArrays, batch_sizes: Iterable[int]
) -> dict[str, float]:
    """Wall-clock seconds of one segment with its features, by batch size: the best of several.

    Keys are strings, as in a bank's header. Batches larger than the pool repeat its puzzles. A size is left
    out if the clock did not move.
    """
    times = {str(size): _time_segment(model, puzzles, size) for size in sorted(set(batch_sizes))}
    return {size: seconds for size, seconds in times.items() if seconds > 0}


def _time_segment(model: ReasoningModel, puzzles: PuzzleArrays, rows: int) -> float:
    few = puzzles.take(np.resize(np.arange(len(puzzles)), rows))
    keys = torch.arange(rows, device=model.device)
    obs = {
        "inputs": torch.as_tensor(few.inputs, device=model.device),
        "puzzle_identifiers": torch.as_tensor(few.puzzle_identifiers, device=model.device),
        "segment": torch.ones_like(keys),
    }
    agent = HRMAgent(model, "fixed:1")
    state = agent.act(obs, puzzle_key=keys).state  # warms up
    best, total, times = float("inf"), 0.0, 0
    while times < _TIMING_LEAST or (total < _TIMING_SECONDS and times < _TIMING_MOST):
        _wait_for(model.device)
        start = time.perf_counter()
        state = agent.act(obs, state, puzzle_key=keys).state
        _wait_for(model.device)
        seconds = time.perf_counter() - start
        best, total, times = min(best, seconds), total + seconds, times + 1
    return best


def _count_within(splits: NDArray[np.str_]) -> NDArray[np.int64]:
    """0, 1, 2, ... within each split."""
    keys = np.zeros(len(splits), np.int64)
    for name in np.unique(splits):
        rows = splits == name
        keys[rows] = np.arange(rows.sum())
    return keys


def _header(model: ReasoningModel, header: BankHeader, trajectories: str) -> BankHeader:
    return dataclasses.replace(
        header,
        trajectories=trajectories,
        model_hash=model_hash(model),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "hrm_rl": hrm_rl.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        halt_max_steps=model.config.halt_max_steps,
        gflop_per_segment=segment_gflop(model.config),
        dtype=model.config.forward_dtype,
        device=model.device.type,
    )


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
