"""Recording a frozen model: every puzzle to the limit, and what each segment showed and answered.

Halting never changes a frozen model's latent trajectory, so the recording, a `TraceBank`, knows the
outcome of every rule for stopping.
"""

import dataclasses
import platform
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from tqdm import tqdm

import hrm_rl
from hrm_rl.envs import PuzzleVectorEnv, SequentialSource
from hrm_rl.envs.core.source import Validator
from hrm_rl.halting import BankHeader, Memory, SegmentFeatures, TraceBank, segment_features
from hrm_rl.halting.bank import FEATURES
from hrm_rl.model import HRM, Carry, SegmentOutput
from hrm_rl.model.files.fingerprint import model_hash
from hrm_rl.puzzles.pool import PuzzleArrays

_JUDGED = ("correct", "valid", "cell_accuracy")
# Seconds over which one segment is timed again and again, and how often at the least and the most.
_TIMING_SECONDS, _TIMING_LEAST, _TIMING_MOST = 0.5, 3, 50


def record(
    model: HRM,
    puzzles: PuzzleArrays,
    max_segments: int,
    *,
    split: str | ArrayLike = "test",
    batch_size: int = 256,
    validator: Validator | None = None,
    pooled: bool = False,
    drafts: bool = False,
    header: BankHeader | None = None,
    progress: bool = False,
) -> TraceBank:
    """Run every puzzle for `max_segments` segments, whatever any rule would say.

    Every batch has the same number of rows, the last one padded: so a compiled model compiles once.

    Args:
        model: the network; runs where it is.
        puzzles: N puzzles of the model's length.
        max_segments: M.
        split: what the puzzles are, for all or one a puzzle: train, validation, test.
        batch_size: puzzles thought about at once.
        validator: says whether an answer is any right one; without it valid = correct.
        pooled: keep the mean of z_H over positions, in float16.
        drafts: keep every draft.
        header: what the caller knows of the model: trained_rule, preset, step, seconds_per_segment,
            note. The rest is filled in here.
        progress: draw a bar on stderr.

    Raises:
        ValueError: no puzzle, or a number that is not >= 1.
    """
    if not len(puzzles):
        raise ValueError("a bank needs at least one puzzle, got none")
    for name, value in (("max_segments", max_segments), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}")
    splits = np.broadcast_to(np.asarray(split, dtype=np.str_), (len(puzzles),))
    rows = min(batch_size, len(puzzles))
    starts = range(0, len(puzzles), rows)
    was_training = model.training
    model.eval()
    parts: dict[str, list[NDArray[Any]]] = {}
    for start in tqdm(starts, "recording", unit="batch", disable=not progress):
        few = puzzles.take(slice(start, start + rows))
        batch = _record_batch(model, few, rows, max_segments, validator, pooled, drafts)
        for name, column in batch.items():
            parts.setdefault(name, []).append(column)
    model.train(was_training)
    columns = {name: np.concatenate(part) for name, part in parts.items()}
    return TraceBank(
        **{name: columns.pop(name) for name in _JUDGED},
        features={name: columns.pop(name) for name in FEATURES},
        inputs=puzzles.inputs,
        labels=puzzles.labels,
        puzzle_identifiers=puzzles.puzzle_identifiers,
        puzzle_key=_count_within(splits),
        rating=puzzles.rating,
        source=puzzles.source if puzzles.source is not None else ("",) * len(puzzles),
        split=splits,
        header=_header(model, header or BankHeader()),
        pooled_z_H=columns.get("pooled_z_H"),
        drafts=columns.get("drafts"),
    )


def segment_seconds(
    model: HRM, puzzles: PuzzleArrays, batch_sizes: Iterable[int]
) -> dict[str, float]:
    """Wall-clock seconds of one segment with its features, by batch size: the best of a few.

    Keys are strings, as in a bank's header. Batches larger than the pool repeat its puzzles.
    """
    return {str(size): _time_segment(model, puzzles, size) for size in sorted(set(batch_sizes))}


@torch.no_grad()
def _time_segment(model: HRM, puzzles: PuzzleArrays, rows: int) -> float:
    few = puzzles.take(np.resize(np.arange(len(puzzles)), rows))
    inputs = torch.as_tensor(few.inputs, device=model.device)
    ids = torch.as_tensor(few.puzzle_identifiers, device=model.device)
    carry, memory, keys = *_start(model, rows), torch.arange(rows, device=model.device)
    _, _, carry, memory = _think(model, carry, memory, inputs, ids, keys)  # warms up
    best, total, times = float("inf"), 0.0, 0
    while times < _TIMING_LEAST or (total < _TIMING_SECONDS and times < _TIMING_MOST):
        _wait_for(model.device)
        start = time.perf_counter()
        _, _, carry, memory = _think(model, carry, memory, inputs, ids, keys)
        _wait_for(model.device)
        seconds = time.perf_counter() - start
        best, total, times = min(best, seconds), total + seconds, times + 1
    return best


@torch.no_grad()
def _record_batch(
    model: HRM,
    puzzles: PuzzleArrays,
    rows: int,
    max_segments: int,
    validator: Validator | None,
    pooled: bool,
    drafts: bool,
) -> dict[str, NDArray[Any]]:
    """The columns of these puzzles, [n, M, ...], thought about in a batch of `rows` >= n."""
    source = SequentialSource(
        puzzles, model.config.vocab_size, device=model.device, validator=validator
    )
    envs = PuzzleVectorEnv(
        rows,
        source,
        halt_max_steps=max_segments,
        order="epoch",
        autoreset_mode="Disabled",
        device=model.device,
    )
    obs, info = envs.reset(seed=0)
    carry, memory = _start(model, rows)
    think_on = torch.zeros(rows, dtype=torch.bool, device=model.device)
    segments: dict[str, list[Tensor]] = {}
    for _ in range(max_segments):
        features, out, carry, memory = _think(
            model,
            carry,
            memory,
            obs["inputs"],
            obs["puzzle_identifiers"],
            info["puzzle_key"],
            pooled=pooled,
        )
        obs, _, _, _, info = envs.step({"answer": out.logits.argmax(-1), "halt": think_on})
        columns = {name: getattr(features, name) for name in FEATURES}
        columns |= {name: info[name] for name in _JUDGED}
        if pooled:
            assert features.pooled_z_H is not None
            columns["pooled_z_H"] = features.pooled_z_H.half()
        if drafts:
            columns["drafts"] = obs["draft"]
        for name, column in columns.items():
            segments.setdefault(name, []).append(column[: len(puzzles)])
    table = {name: torch.stack(column, 1).cpu().numpy() for name, column in segments.items()}
    if drafts:
        small = np.uint8 if model.config.vocab_size <= 1 << 8 else np.uint16
        table["drafts"] = table["drafts"].astype(small)
    return table


def _start(model: HRM, rows: int) -> tuple[Carry, Memory]:
    config = model.config
    memory = Memory.blank(rows, config.seq_len, config.vocab_size, model.device)
    return model.initial_carry(rows), memory


def _think(
    model: HRM,
    carry: Carry,
    memory: Memory,
    inputs: Tensor,
    ids: Tensor,
    keys: Tensor,
    *,
    pooled: bool = False,
) -> tuple[SegmentFeatures, SegmentOutput, Carry, Memory]:
    """One segment, and what it shows."""
    out = model(carry, inputs, ids)
    features, memory = segment_features(memory, carry, out, keys, pooled=pooled)
    return features, out, out.carry, memory


def _count_within(splits: NDArray[np.str_]) -> NDArray[np.int64]:
    """0, 1, 2, ... within each split."""
    keys = np.zeros(len(splits), np.int64)
    for name in np.unique(splits):
        where = splits == name
        keys[where] = np.arange(where.sum())
    return keys


def _header(model: HRM, header: BankHeader) -> BankHeader:
    return dataclasses.replace(
        header,
        model_hash=model_hash(model),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "hrm_rl": hrm_rl.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        halt_max_steps=model.config.halt_max_steps,
        dtype=model.config.forward_dtype,
        device=model.device.type,
    )


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
