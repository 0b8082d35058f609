"""Evaluation with halting: each puzzle is answered once; a row that stops takes the next puzzle."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hrm_rl.agents import HRMAgent
from hrm_rl.agents.hrm_agent import Decision
from hrm_rl.agents.learning.graphs import GraphedAgent
from hrm_rl.distributed.ranks import ALONE, Ranks
from hrm_rl.envs import PuzzleVectorEnv, SequentialSource
from hrm_rl.envs.core.source import Validator
from hrm_rl.evaluation.trajectories import ONE, Trajectories, answer_ids, any_of_group, resampled
from hrm_rl.halting import HaltingRule, SegmentFeatures, parse_rule
from hrm_rl.halting.rules.combine import Abstain
from hrm_rl.halting.rules.select import Particles, Select
from hrm_rl.model import HRMConfig, ReasoningModel
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.settings import check_counts
from hrm_rl.stopwatch import Stopwatch, rate

_COLUMNS = {
    "q_halt": torch.float32,
    "correct": torch.bool,
    "valid": torch.bool,
    "cell_accuracy": torch.float32,
    "segments": torch.int64,
    "first_correct_segment": torch.int64,
}
_BYTES = 100  # a trajectory's columns and names, beside its tokens: inputs, labels, answers and their copy
_MARKS = {"merit": torch.float32, "answered": torch.bool}
Mark = Callable[[SegmentFeatures], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """The answers of a model, puzzle by puzzle."""

    answers: NDArray[np.int32]  # [N, S]: the draft at the segment the rule stopped
    q_halt: NDArray[np.float32]  # [N]: the halt logit at that segment
    correct: NDArray[np.bool_]  # [N]
    valid: NDArray[np.bool_]  # [N]
    cell_accuracy: NDArray[np.float32]  # [N]
    segments: NDArray[np.int64]  # [N]
    first_correct_segment: NDArray[np.int64]  # [N]; 0 = never up to the stop
    max_segments: int
    seconds: float
    cpu_share: float = 1.0
    """Share of the seconds in which this process ran; clearly below 1 on a crowded machine."""
    declined: NDArray[np.bool_] | None = None
    """[N]: the rule did not answer, which is neither correct nor valid; None if it always does."""

    def whole(self, ranks: Ranks, count: int) -> "Evaluation":
        """The evaluation of all ranks' puzzles, `count` in all, of which this is one rank's `numbers`."""
        columns = {name: column for name, column in vars(self).items() if isinstance(column, np.ndarray)}
        whole: Any = {name: ranks.whole_array(column, count) for name, column in columns.items()}
        seconds, missed = ranks.largest(self.seconds, 1 - self.cpu_share)
        return dataclasses.replace(self, **whole, seconds=seconds, cpu_share=1 - missed)

    def summary(self) -> dict[str, float | int]:
        """The figures of `hrm-rl eval --json`."""
        count = len(self.correct)
        figures = {
            "exact_accuracy": float(self.correct.mean()),
            "valid_accuracy": float(self.valid.mean()),
            "cell_accuracy": float(self.cell_accuracy.mean()),
            "mean_segments": float(self.segments.mean()),
            "max_segments": self.max_segments,
            "count": count,
            "seconds": self.seconds,
            "puzzles_per_second": rate(count, self.seconds),
        }
        if self.declined is not None:
            answered = int((~self.declined).sum())
            wrong = answered - int(self.correct.sum())
            figures |= {"coverage": answered / count, "risk": wrong / max(1, answered)}
        return figures


def evaluate(
    model: ReasoningModel,
    puzzles: PuzzleArrays,
    rule: HaltingRule | str = "q",
    *,
    max_segments: int | None = None,
    batch_size: int = 256,
    validator: Validator | None = None,
    puzzle_keys: ArrayLike | None = None,
    trajectories: Trajectories = ONE,
    graphs: bool = False,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Answer every puzzle once, stopping by `rule`, at the latest after `max_segments`.

        evaluate(model, hrm_rl.puzzles.sudoku.generate(1000, split="test"), "q").summary()

    Args:
        model: the network; runs on its device.
        puzzles: N puzzles of the model's length.
        rule: a stopping rule or its spec string.
        max_segments: the limit; the model's halt_max_steps by default.
        batch_size: puzzles in flight at once.
        validator: decides whether an answer is any correct one; without it valid = correct.
        puzzle_keys: int64 [N], the counters of rules and noise that draw at random; 0, 1, 2, ... by default.
        trajectories: several of each puzzle, of which a rule such as "select(q, first)" selects one. A
            trajectory that ends gives its row to the next; with `first` those of a puzzle start together.
        graphs: replay segments as CUDA graphs (`hrm_rl.agents.learning.graphs`); near the end, when rows
            run idle, batches shrink to powers of two.
        ranks: processes that each answer their share of the puzzles, and return all answers.

    Raises:
        ValueError: an unknown rule, one that does not fit the trajectories, or as `check_arguments`.
        MemoryError: the trajectories' answers would exceed the machine's memory.
    """
    limit = 1 if max_segments is None else max_segments
    check_arguments(model, puzzles, validator, max_segments=limit, batch_size=batch_size)
    limit = model.config.halt_max_steps if max_segments is None else max_segments
    count, device = len(puzzles), model.device
    counters = np.arange(count) if puzzle_keys is None else np.asarray(puzzle_keys)
    if counters.shape != (count,) or counters.dtype.kind not in "iu":
        raise ValueError(
            f"puzzle_keys must be {count} integers, one a puzzle; got {counters.dtype} of {counters.shape}"
        )
    if ranks.count > 1:
        own = ranks.numbers(count)
        options: Any = {"max_segments": limit, "batch_size": batch_size, "validator": validator}
        options |= {"puzzle_keys": counters[own], "graphs": graphs, "trajectories": trajectories}
        return evaluate(model, puzzles.take(own), rule, **options).whole(ranks, count)
    rule = parse_rule(rule) if isinstance(rule, str) else rule
    select, width = trajectories.selecting(rule), trajectories.width
    if select is not None and graphs:
        raise ValueError("CUDA graphs run one trajectory a puzzle: --graphs no")
    trajectories.check_memory(count, 1, 16 * puzzles.seq_len + _BYTES)
    rows = trajectories.rows(puzzles, counters.astype(np.int64))
    count, size = len(rows.puzzles), min(batch_size, len(rows.puzzles))
    if select is not None and select.together:
        size = max(1, size // width) * width
    envs = each_puzzle_once(model, rows.puzzles, size, limit, validator)
    stopping, noise = rule if select is None else select.rule, trajectories.noise
    agent = (GraphedAgent if graphs else HRMAgent)(model, stopping, noise=noise)
    keys, numbers = rows.tensors(device)
    marks = {} if select is None else {"merit": select.merit}
    if isinstance(rule, Abstain):
        marks["answered"] = rule.answers
    sheet, state = _Sheet(count, model.config.seq_len, marks, device), None
    with in_eval_mode(model), ExitStack() as tail:
        obs, info = envs.reset(seed=0)
        if _on_cuda(device):
            _warm_up(model, obs, info["puzzle_key"])
        watch = Stopwatch(device.type)
        while sheet.left:
            key = info["puzzle_key"]
            row = key.clamp_max(count - 1)  # padded rows, whose key is past the end, repeat the last
            decision = agent.act(obs, state, puzzle_key=keys[row], trajectory=numbers[row])
            state, action = decision.state, decision.action
            if select is not None and select.together:
                action = action | {"halt": any_of_group(action["halt"], width)}
            if isinstance(select, Particles):
                state = resampled(state, decision.out.q_halt, keys[row], obs["segment"], width)
            obs, _, terminated, _, info = envs.step(action)
            sheet.write(terminated & (key < count), key, decision, info)
            worth_it = 3 * envs.num_envs // 4
            if sheet.left <= worth_it:
                # All puzzles are handed out and a quarter of the rows idle: continue with the others.
                kept = _rows_to_keep(info["puzzle_key"] < count, graphs)
                if 0 < len(kept) <= worth_it:
                    if model.is_compiled:  # it would be compiled again for every number of rows
                        tail.enter_context(torch.compiler.set_stance("force_eager"))
                    envs, state = envs.take_rows(kept), state.take_rows(kept)
                    obs, info = envs.current()
        columns, timing = sheet.read(), watch.read()
    columns["answers"] = rows.undo_views(columns["answers"])
    if select is not None:
        columns = _selected(columns, select, limit, width)
    if "answered" in columns:
        given = columns.pop("answered")
        right = {name: columns[name] & given for name in ("correct", "valid")}
        columns |= right | {"declined": ~given}
    return Evaluation(**columns, max_segments=limit, seconds=timing.seconds, cpu_share=timing.cpu_share)


def _selected(
    columns: dict[str, NDArray[Any]], select: Select, limit: int, width: int
) -> dict[str, NDArray[Any]]:
    """The columns [N] of the trajectories that answer, of columns [N * K]; segments are those of all."""
    table = {name: column.reshape(-1, width, *column.shape[1:]) for name, column in columns.items()}
    stopped = table.pop("halt") | (table["segments"] == limit)
    ids = answer_ids(table["answers"])
    chosen = select.choose(table.pop("merit"), stopped, ids, table["correct"])
    found = {name: column[np.arange(len(column)), chosen] for name, column in table.items()}
    return found | {"segments": table["segments"].sum(1)}


class _Sheet:
    """The columns of an Evaluation, on the device. They have one slot more, for rows without a result.

    `marks` are columns computed from the features at the stop; with `merit` there is `halt` too.
    """

    def __init__(self, count: int, seq_len: int, marks: Mapping[str, Mark], device: torch.device) -> None:
        self.count, self.left, self.marks = count, count, marks
        kinds = _COLUMNS | {name: kind for name, kind in _MARKS.items() if name in marks}
        kinds |= {"halt": torch.bool} if "merit" in marks else {}
        self.columns = {
            name: torch.zeros(count + 1, dtype=kind, device=device) for name, kind in kinds.items()
        }
        self.columns["answers"] = torch.zeros(count + 1, seq_len, dtype=torch.int32, device=device)

    def write(self, ended: Tensor, key: Tensor, decision: Decision, info: dict[str, Tensor]) -> None:
        """Keep the rows of `ended` (bool [B]) under their puzzle's number `key` (int64 [B])."""
        slot = torch.where(ended, key, self.count)
        found = info | {"answers": decision.action["answer"], "q_halt": decision.out.q_halt}
        found |= {"halt": decision.action["halt"]}
        found |= {name: mark(decision.features) for name, mark in self.marks.items()}
        for name, column in self.columns.items():
            column[slot] = found[name].to(column.dtype)
        self.left -= int(ended.sum())

    def read(self) -> dict[str, NDArray[Any]]:
        return {name: column[: self.count].cpu().numpy() for name, column in self.columns.items()}


def each_puzzle_once(
    model: ReasoningModel,
    puzzles: PuzzleArrays,
    rows: int,
    max_segments: int,
    validator: Validator | None,
    **options: Any,
) -> PuzzleVectorEnv:
    """Environments on the model's device that hand out every puzzle once."""
    size, device = model.config.vocab_size, model.device
    source = SequentialSource(puzzles, size, device=device, validator=validator)
    options |= {"halt_max_steps": max_segments, "order": "epoch", "device": device}
    return PuzzleVectorEnv(rows, source, **options)


@contextmanager
def in_eval_mode(model: ReasoningModel) -> Iterator[None]:
    """Put the model in evaluation mode, and restore its mode at the end."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _on_cuda(device: torch.device) -> bool:
    return device.type == "cuda"


def _warm_up(model: ReasoningModel, obs: dict[str, Tensor], keys: Tensor) -> None:
    """Run one segment, discard it, and wait: the first call of kernels and attention on a GPU is slow and
    must not count. The caller's rule is not called, since it may count its calls."""
    HRMAgent(model, "fixed:1").act(obs, None, puzzle_key=keys)
    torch.cuda.synchronize()


def _rows_to_keep(busy: Tensor, power_of_two: bool) -> Tensor:
    """The rows of `busy` (bool [B]), int64 [K]; padded with idle rows until K is a power of two, so that
    few sizes occur."""
    found = busy.nonzero().squeeze(1)
    if not power_of_two or not len(found):
        return found
    idle = (~busy).nonzero().squeeze(1)
    size = 1 << (len(found) - 1).bit_length()
    return torch.cat((found, idle[: size - len(found)]))


def check_arguments(model: ReasoningModel, puzzles: Any, validator: Any, **counts: int) -> None:
    """Check what `evaluate` and `record` are given, once a call.

    Raises ValueError for something else than a model, no puzzles, puzzles that do not fit the model, a
    validator that cannot be called, or a number in `counts` below 1.
    """
    check_counts(**counts)
    if not hasattr(model, "config"):
        raise ValueError(
            f"model must be a ReasoningModel, got {type(model).__name__}; hrm_rl.from_pretrained opens "
            "a run's"
        )
    if not isinstance(puzzles, PuzzleArrays):
        raise ValueError(
            f"puzzles must be PuzzleArrays, got {type(puzzles).__name__}; PuzzleArrays(inputs, labels) "
            "makes them of arrays [N, S], read_csv of a family reads a file"
        )
    if not len(puzzles):
        raise ValueError("puzzles must hold at least one puzzle, got none")
    if validator is not None and not callable(validator):
        raise ValueError(f"validator must be a function of inputs and answers, got {validator!r}")
    check_fits(model.config, puzzles)


def check_fits(config: HRMConfig, puzzles: PuzzleArrays) -> None:
    """Raise ValueError if the puzzles' length, vocabulary or identifiers do not fit the model."""
    if puzzles.seq_len != config.seq_len:
        raise ValueError(f"the puzzles have {puzzles.seq_len} cells, the model was made for {config.seq_len}")
    top = max(puzzles.inputs.max(initial=0), puzzles.labels.max(initial=0))
    if top >= config.vocab_size:
        raise ValueError(
            f"the puzzles have token {top}, the model was made for vocab_size {config.vocab_size}"
        )
    last = puzzles.puzzle_identifiers.max(initial=0)
    if config.puzzle_emb_ndim and last >= config.num_puzzle_identifiers:
        raise ValueError(
            f"the puzzles name identifier {last}, the model was made for num_puzzle_identifiers "
            f"{config.num_puzzle_identifiers}"
        )
