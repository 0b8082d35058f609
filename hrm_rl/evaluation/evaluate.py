"""Evaluation that halts: every puzzle once, a row that stops hands its slot to the next puzzle."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hrm_rl.agents import HRMAgent
from hrm_rl.agents.learning.graphs import GraphedAgent
from hrm_rl.envs import PuzzleVectorEnv, SequentialSource
from hrm_rl.envs.core.source import Validator
from hrm_rl.halting import HaltingRule
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.puzzles.pool import PuzzleArrays


@dataclass(frozen=True)
class Evaluation:
    """What a model answered, puzzle by puzzle."""

    answers: NDArray[np.int32]  # [N, S]: the draft at the segment the rule stopped
    correct: NDArray[np.bool_]  # [N]
    valid: NDArray[np.bool_]  # [N]
    cell_accuracy: NDArray[np.float32]  # [N]
    segments: NDArray[np.int64]  # [N]
    first_correct_segment: NDArray[np.int64]  # [N]; 0 = never up to the stop
    max_segments: int
    seconds: float

    def summary(self) -> dict[str, float | int]:
        """The figures of the command line's JSON."""
        count = len(self.correct)
        return {
            "exact_accuracy": float(self.correct.mean()),
            "valid_accuracy": float(self.valid.mean()),
            "cell_accuracy": float(self.cell_accuracy.mean()),
            "mean_segments": float(self.segments.mean()),
            "max_segments": self.max_segments,
            "count": count,
            "seconds": self.seconds,
            "puzzles_per_second": count / self.seconds,
        }


def evaluate(
    model: HRM,
    puzzles: PuzzleArrays,
    rule: HaltingRule | str = "q",
    *,
    max_segments: int | None = None,
    batch_size: int = 256,
    validator: Validator | None = None,
    puzzle_keys: ArrayLike | None = None,
    graphs: bool = False,
) -> Evaluation:
    """Answer every puzzle once, stopping by `rule`, at the latest after `max_segments`.

    Args:
        model: the network; runs where it is.
        puzzles: N puzzles of the model's length.
        rule: a rule for stopping or its spec string.
        max_segments: the limit; the model's halt_max_steps by default.
        batch_size: puzzles thought about at once.
        validator: says whether an answer is any right one; without it valid = correct.
        puzzle_keys: int64 [N], by which rules that draw at random count; 0, 1, 2, ... by default.
        graphs: replay segments as CUDA graphs (`hrm_rl.agents.learning.graphs`); at the end, when rows run
            idle, on powers of two of rows.

    Raises:
        ValueError: as `check_fits`.
    """
    config, count = model.config, len(puzzles)
    check_fits(config, puzzles)
    limit = config.halt_max_steps if max_segments is None else max_segments
    device = model.device
    source = SequentialSource(puzzles, config.vocab_size, device=device, validator=validator)
    rows = min(batch_size, count)
    envs = PuzzleVectorEnv(rows, source, halt_max_steps=limit, order="epoch", device=device)
    agent = (GraphedAgent if graphs else HRMAgent)(model, rule)
    # Padded rows, whose key is past the end, take the last one's.
    counters = np.arange(count) if puzzle_keys is None else np.asarray(puzzle_keys)
    keys = torch.as_tensor(np.append(counters, counters[-1]).astype(np.int64), device=device)
    # One slot more than there are puzzles: padded rows write there.
    answers = torch.zeros(count + 1, config.seq_len, dtype=torch.int32, device=device)
    verdicts = torch.zeros(count + 1, 5, device=device)

    was_training = model.training
    model.eval()
    obs, info = envs.reset(seed=0)
    if _on_cuda(device):
        _warm_up(model, obs, info["puzzle_key"])
    start, finished = time.perf_counter(), 0
    state = None
    while finished < count:
        key = info["puzzle_key"]
        decision = agent.act(obs, state, puzzle_key=keys[key.clamp_max(count)])
        obs, _, terminated, _, info = envs.step(decision.action)
        state = decision.state
        slot = torch.where(terminated & (key < count), key, count)
        answers[slot] = decision.action["answer"].int()
        judged = ("correct", "valid", "cell_accuracy", "segments", "first_correct_segment")
        verdicts[slot] = torch.stack([info[name].float() for name in judged], dim=1)
        finished += int((slot < count).sum())
        worth_it = 3 * envs.num_envs // 4
        if count - finished <= worth_it and not model.is_compiled:
            # The puzzles are all handed out and a quarter of the rows idle: go on with the others.
            # (A compiled model would be compiled again for every number of rows.)
            kept = _rows_to_keep(info["puzzle_key"] < count, graphs)
            if 0 < len(kept) <= worth_it:
                envs, state = envs.take_rows(kept), state.take_rows(kept)
                obs, info = envs.current()
    seconds = time.perf_counter() - start
    model.train(was_training)

    table = verdicts[:count].cpu().numpy()
    return Evaluation(
        answers[:count].cpu().numpy(),
        table[:, 0] > 0,
        table[:, 1] > 0,
        table[:, 2].astype(np.float32),
        table[:, 3].astype(np.int64),
        table[:, 4].astype(np.int64),
        limit,
        seconds,
    )


def _on_cuda(device: torch.device) -> bool:
    return device.type == "cuda"


def _warm_up(model: HRM, obs: dict[str, Tensor], keys: Tensor) -> None:
    """A segment thrown away, and a wait for it: what kernels and attention cost at their first call on a GPU
    is no part of an evaluation's time. The rule, which may count its calls, is not asked."""
    HRMAgent(model, "fixed:1").act(obs, None, puzzle_key=keys)
    torch.cuda.synchronize()


def _rows_to_keep(busy: Tensor, power_of_two: bool) -> Tensor:
    """The rows of `busy` (bool [B]), int64 [K]; with as many idle ones as make K a power of two, so that
    few sizes are met."""
    found = busy.nonzero().squeeze(1)
    if not power_of_two or not len(found):
        return found
    idle = (~busy).nonzero().squeeze(1)
    size = 1 << (len(found) - 1).bit_length()
    return torch.cat((found, idle[: size - len(found)]))


def check_fits(config: HRMConfig, puzzles: PuzzleArrays) -> None:
    """Raises ValueError where the puzzles' length, vocabulary or identifiers are not the model's."""
    if puzzles.seq_len != config.seq_len:
        raise ValueError(
            f"the puzzles have {puzzles.seq_len} cells, the model was made for {config.seq_len}"
        )
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
