"""CUDA graphs on and off, side by side: latency of a segment and of a training step."""

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from hrm_rl.agents import HRMAgent, Learner, LearnerConfig
from hrm_rl.agents.learning.graphs import WARM_UP_STEPS, GraphedAgent, GraphedLearner
from hrm_rl.bench.timing import Way, interleaved, ratio_row
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.training.machine.compute import Compute

BATCHES = (1, 8, 64, 768)
# Runs in one measurement, so that one launch's jitter does not show.
_RUNS = 5


def graph_rows(
    device: str,
    rounds: int,
    config: HRMConfig | None = None,
    batches: Sequence[int] = BATCHES,
) -> Iterator[dict[str, Any]]:
    """Rows of `hrm-rl bench`, in seconds a run: `ours` replays graphs, `other` launches kernel by kernel.

    `graph.segment.*` is a segment with its features and the rule q; `graph.train_step.*` is act and learn
    by the paper's recipe, the environment left out (its answers are always the same here).

    Args:
        device: of PyTorch's; anywhere but on CUDA the two sides do the same work.
        rounds: interleaved rounds a row.
        config: the 27M-parameter model on 9x9 Sudoku by default, bfloat16.
        batches: rows of a batch, one row of results each and kind.
    """
    config = config or HRMConfig(vocab_size=11, seq_len=81)
    compute = Compute(device, config.forward_dtype)
    for kind, make in (("segment", _segment), ("train_step.full", _training_step)):
        for batch in batches:
            ways = {
                name: Way(make(config, batch, device, graphs=graphs), compute)
                for name, graphs in (("on", True), ("off", False))
            }
            seconds = interleaved(ways, rounds)
            each = {name: [t / _RUNS for t in times] for name, times in seconds.items()}
            name = f"graph.{kind}.h{config.hidden_size}.s{config.seq_len}.b{batch}"
            yield ratio_row(name, each["on"], each["off"], "without graphs")
            # Before the next two take theirs.
            del ways
            gc.collect()  # learner and agent are in circles with their graphs
            if device.startswith("cuda"):
                torch.cuda.empty_cache()


def _segment(config: HRMConfig, batch: int, device: str, *, graphs: bool) -> Callable[[], None]:
    model, obs = _model_and_batch(config, batch, device)
    agent = (GraphedAgent if graphs else HRMAgent)(model, "q")
    key = torch.arange(batch, device=device)
    state = None

    def run() -> None:
        nonlocal state
        for _ in range(_RUNS):
            state = agent.act(obs, state, puzzle_key=key).state

    return _warm(run)


def _training_step(
    config: HRMConfig, batch: int, device: str, *, graphs: bool
) -> Callable[[], None]:
    model, obs = _model_and_batch(config, batch, device)
    learner = (GraphedLearner if graphs else Learner)(model, batch, LearnerConfig())
    going_on = torch.zeros(batch, dtype=torch.bool, device=device)
    info = {
        "correct": going_on,
        "_episode": going_on,
        "segments": obs["segment"] + 1,
        "cell_accuracy": torch.zeros(batch, device=device),
    }

    def run() -> None:
        for _ in range(_RUNS):
            out, _ = learner.act(obs)
            learner.learn(out, obs, obs["inputs"], info)

    return _warm(run)


def _model_and_batch(
    config: HRMConfig, batch: int, device: str
) -> tuple[HRM, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    model = HRM(config).to(device)
    inputs = torch.randint(config.vocab_size, (batch, config.seq_len)).to(device)
    zeros = torch.zeros(batch, dtype=torch.int64, device=device)
    return model, {"inputs": inputs, "puzzle_identifiers": zeros, "segment": zeros + 1}


def _warm(run: Callable[[], None]) -> Callable[[], None]:
    """Past the steps that record, if any."""
    for _ in range(WARM_UP_STEPS // _RUNS + 1):
        run()
    return run
