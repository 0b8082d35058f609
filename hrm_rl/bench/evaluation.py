"""`hrm-rl bench`: what stopping early is worth in an evaluation, by the clock."""

import dataclasses
import statistics
from typing import Any

import torch

from hrm_rl.bench.timing import Way, interleaved, ratio_row
from hrm_rl.evaluation.evaluate import Evaluation, evaluate
from hrm_rl.model import HRM
from hrm_rl.training.data import generated_puzzles
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset

PUZZLES = 2048
_LIMIT = 16
# Stops that scatter as widely as those of any rule, after 2.5 segments on average; no training is needed.
_RULE = "random:0.4"


def evaluation_row(preset: Preset, compute: Compute, rounds: int) -> dict[str, Any]:
    """Answering puzzles under a rule, the places of rows that stop being filled again, against
    running every puzzle to the limit.

    `promised` is how many times fewer segments the rule runs, and `of_promised` the share of that which
    the clock shows.
    """
    model = HRM(dataclasses.replace(preset.model, forward_dtype=compute.dtype)).to(compute.device)
    puzzles = generated_puzzles(preset.data.kind, "validation", PUZZLES)
    segments: list[float] = []

    def answer(rule: str) -> Evaluation:
        return evaluate(model, puzzles, rule, max_segments=_LIMIT, batch_size=preset.batch_size)

    def by_rule() -> None:
        segments.append(float(answer(_RULE).segments.mean()))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ways = {
            "rule": Way(by_rule, compute),
            "limit": Way(lambda: answer(f"fixed:{_LIMIT}"), compute),
        }
        seconds = interleaved(ways, rounds)
    name = f"evaluate.{_RULE}.h{preset.model.hidden_size}.s{preset.model.seq_len}"
    row = ratio_row(
        f"{name}.b{preset.batch_size}",
        [s / PUZZLES for s in seconds["rule"]],
        [s / PUZZLES for s in seconds["limit"]],
        f"all {_LIMIT} segments",
    )
    promised = _LIMIT / statistics.mean(segments)
    return row | {"promised": promised, "of_promised": row["ratio"] / promised}
