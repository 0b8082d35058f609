"""Row of `hrm-rl bench` about early stopping in evaluation."""

import dataclasses
import statistics
from typing import Any

import torch

from hrm_rl.bench.timing import Way, interleaved, ratio_row, shape
from hrm_rl.evaluation.evaluate import Evaluation, evaluate
from hrm_rl.model import make_model
from hrm_rl.model.layers import unrelated
from hrm_rl.training.data import generated_puzzles
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset

PUZZLES = 2048
_LIMIT = 16
# Stops after 2.5 segments on average; needs no training.
_RULE = "random:0.4"


def evaluation_row(preset: Preset, compute: Compute, rounds: int) -> dict[str, Any]:
    """Puzzles with a rule, refilling the rows that stop, against every puzzle to the limit.

    `promised` is the ratio of segments without and with the rule; `of_promised` is the time ratio over it.
    """
    config = dataclasses.replace(preset.model, forward_dtype=compute.dtype)
    model = make_model(config, unrelated(config)).to(compute.device)
    puzzles = generated_puzzles(preset.data.kind, "validation", PUZZLES)
    segments: list[float] = []

    def answer(rule: str) -> Evaluation:
        return evaluate(model, puzzles, rule, max_segments=_LIMIT, batch_size=preset.batch_size)

    def by_rule() -> None:
        segments.append(float(answer(_RULE).segments.mean()))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ways = {"rule": Way(by_rule, compute), "limit": Way(lambda: answer(f"fixed:{_LIMIT}"), compute)}
        seconds = interleaved(ways, rounds, runs=PUZZLES)
    name = f"evaluate.{_RULE}.{shape(preset.model, preset.batch_size)}"
    row = ratio_row(name, seconds["rule"], seconds["limit"], f"all {_LIMIT} segments")
    promised = _LIMIT / statistics.mean(segments)
    return row | {"promised": promised, "of_promised": row["ratio"] / promised}
