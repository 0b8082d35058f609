"""Rows of `hrm-rl bench` about a GPU: a segment and a training step, with CUDA graphs and torch.compile."""

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from hrm_rl.agents import HRMAgent, Learner, LearnerConfig
from hrm_rl.agents.learning.graphs import WARM_UP_STEPS, GraphedAgent, GraphedLearner
from hrm_rl.bench.timing import Way, interleaved, ratio_row, shape
from hrm_rl.model import HRMConfig, ReasoningModel, make_model
from hrm_rl.model.layers import unrelated
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.machine.fixed_step import fixed_observation, fixed_step, random_tokens

BATCHES = (1, 8, 64, 768)
# Whether graphs are replayed, and blocks compiled.
_WAYS = {
    "plain": (False, False),
    "graph": (True, False),
    "compiled": (False, True),
    "compiled-graph": (True, True),
}
# Runs in one measurement, so that one launch's jitter does not show.
_RUNS = 5


def graph_rows(
    device: str, rounds: int, config: HRMConfig | None = None, batches: Sequence[int] = BATCHES
) -> Iterator[dict[str, Any]]:
    """Rows of `hrm-rl bench`, in seconds a run: `ours` replays graphs, is compiled, or both; `other` does
    neither.

    `*.segment.*` is a segment with its features and the rule q; `*.train_step.*` is act and learn by the
    paper's recipe, without an environment.

    Args:
        device: a PyTorch device; elsewhere than on CUDA graphs are run again, not replayed.
        rounds: interleaved rounds a row.
        config: by default the 27M-parameter model on 9x9 Sudoku in bfloat16.
        batches: rows of a batch; each gives one result of either kind.
    """
    config = config or HRMConfig(vocab_size=11, seq_len=81)
    compute = Compute(device, config.forward_dtype)
    for kind, make in (("segment", _segment), ("train_step.full", _training_step)):
        for batch in batches:
            torch.compiler.reset()
            ways = {
                name: Way(_repeated(make(config, batch, device, graphs, compiled)), compute)
                for name, (graphs, compiled) in _WAYS.items()
            }
            seconds = interleaved(ways, rounds, runs=_RUNS)
            about = f"{kind}.{shape(config, batch)}"
            for name in list(_WAYS)[1:]:
                yield ratio_row(f"{name}.{about}", seconds[name], seconds["plain"], "neither")
            # Free this memory before the next sides allocate theirs.
            del ways
            gc.collect()  # learner and agent are in reference cycles with their graphs
            if device.startswith("cuda"):
                torch.cuda.empty_cache()


def _segment(config: HRMConfig, batch: int, device: str, graphs: bool, compiled: bool) -> Callable[[], Any]:
    model, obs = _model_and_batch(config, batch, device, compiled)
    agent = (GraphedAgent if graphs else HRMAgent)(model, "q")
    key = torch.arange(batch, device=device)
    state = None

    def run() -> None:
        nonlocal state
        state = agent.act(obs, state, puzzle_key=key).state

    return run


def _training_step(
    config: HRMConfig, batch: int, device: str, graphs: bool, compiled: bool
) -> Callable[[], Any]:
    model, obs = _model_and_batch(config, batch, device, compiled)
    learner = (GraphedLearner if graphs else Learner)(model, batch, LearnerConfig())
    return fixed_step(learner, obs, obs["inputs"])


def _model_and_batch(
    config: HRMConfig, batch: int, device: str, compiled: bool
) -> tuple[ReasoningModel, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    model = make_model(config, unrelated(config)).to(device)
    if compiled:
        model.compile_blocks()
    return model, fixed_observation(random_tokens(config, batch, device), segment=1)


def _repeated(run: Callable[[], Any]) -> Callable[[], None]:
    """`_RUNS` runs in one, past the steps that record graphs."""
    for _ in range(WARM_UP_STEPS + _RUNS):
        run()

    def repeated() -> None:
        for _ in range(_RUNS):
            run()

    return repeated
