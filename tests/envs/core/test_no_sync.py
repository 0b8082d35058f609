"""A step never waits for the device: no operation whose result the host must look at."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hrm_rl.agents import Learner, LearnerConfig
from hrm_rl.agents.learning.graphs import GraphedLearner
from hrm_rl.envs import PoolSource, PuzzleVectorEnv
from hrm_rl.envs.families.validators import validator_of
from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.sudoku import Sudoku

WAITING = {
    "_local_scalar_dense",  # .item(), int(...), a tensor as a condition
    "is_nonzero",
    "equal",
    "nonzero",
    "nonzero_numpy",
    "argwhere",
    "masked_select",
    "unique",
    "unique_dim",
    "unique_consecutive",
    "_unique",
    "_unique2",
    "bincount",
    "repeat_interleave",
}


class Watch(TorchDispatchMode):
    """Collects operations that a device could only run by waiting; none waits for host tensors."""

    def __init__(self, host: Callable[[], list[torch.Tensor]] = list) -> None:
        super().__init__()
        self.count, self.waiting, self.host = 0, [], host

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            isinstance(i, torch.Tensor) and i.dtype == torch.bool for i in args[1]
        )
        on_host = any(args[0] is tensor for tensor in self.host()) if name in WAITING else False
        if (name in WAITING and not on_host) or by_mask:
            self.waiting.append(str(func))
        return func(*args, **kwargs or {})


@pytest.mark.parametrize(
    "wait",
    [
        lambda t: t.sum().item(),
        lambda t: bool(t.any()),
        lambda t: t.nonzero(),
        lambda t: t[t > 0],
        lambda t: t.unique(),
    ],
)
def test_the_watch_sees_what_waits(wait: Any) -> None:
    with Watch() as watch:
        wait(torch.arange(4))
    assert watch.waiting


@pytest.mark.parametrize("order", ["hash", "epoch"])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_a_step_runs_where_no_value_can_be_read(pool: Any, mode: str, order: Any) -> None:
    """On the meta device tensors have shapes and no values: reading or copying one raises."""
    source = PoolSource(
        pool, 6, symmetry=sudoku.symmetry(4), device="meta", validator=validator_of(Sudoku(4))
    )
    envs = PuzzleVectorEnv(8, source, autoreset_mode=mode, order=order, device="meta")
    obs, _ = envs.reset(seed=0)
    shapes = {key: value.shape for key, value in obs.items()}
    halt = torch.zeros(8, dtype=torch.bool, device="meta")
    for _ in range(3):
        obs, reward, *_, info = envs.step({"answer": obs["draft"], "halt": halt})
        assert {key: value.shape for key, value in obs.items()} == shapes
        assert all(value.is_meta for value in (*obs.values(), reward, info["correct"]))
    with pytest.raises(RuntimeError):
        reward.sum().item()


def test_a_masked_reset_never_waits(source: Any) -> None:
    envs = PuzzleVectorEnv(8, source, autoreset_mode="Disabled")
    envs.reset(seed=0)
    with Watch() as watch:
        envs.reset(options={"reset_mask": torch.ones(8, dtype=torch.bool)})
    assert watch.count > 20 and not watch.waiting


Q_TARGETS = ["full", "every:2", "subsample:0.5", "delayed", "lambda:0.9", "none"]


def training(
    tiny_hrm: Any, source: Any, kind: type[Learner], q_target: str, optimizer: Any, device: str = "cpu"
) -> tuple[Learner, Callable[[], Any]]:
    """A learner, and what runs its next step, the environment's included."""
    shape = {"puzzle_emb_ndim": 32, "halt_max_steps": 3, "halt_exploration_prob": 0.5}
    model = tiny_hrm(**shape).to(device)
    learner = kind(model, 4, LearnerConfig(q_target=q_target, optimizer=optimizer))
    envs = PuzzleVectorEnv(4, source, halt_max_steps=3, device=device)
    now = envs.reset(seed=0)

    def step() -> None:
        nonlocal now
        obs, info = now
        out, action = learner.act(obs)
        next_obs, _, terminated, _, next_info = envs.step(action)
        learner.learn(out, obs, info["labels"], terminated, next_info)
        now = next_obs, next_info

    return learner, step


@pytest.mark.parametrize("optimizer", ["adam-atan2", "adamw"])
@pytest.mark.parametrize("q_target", Q_TARGETS)
def test_a_training_step_never_waits(tiny_hrm: Any, source: Any, q_target: str, optimizer: Any) -> None:
    """Segment, environment, targets, backward pass and both optimizers (puzzle embeddings have theirs).

    AdamATan2's eager form reads its step counter, which lies on the host for that: no device is waited
    for, so those reads do not count. On a GPU the Triton form reads a counter on the device.
    """
    learner, step = training(tiny_hrm, source, Learner, q_target, optimizer)

    def step_counts() -> list[torch.Tensor]:
        states = [state for o in learner.optimizers for state in o.state.values()]
        return [state["step"] for state in states if "step" in state]

    for _ in range(4):
        with Watch(step_counts) as watch:
            step()
        assert watch.count > 200 and not watch.waiting


@pytest.mark.parametrize("optimizer", ["adam-atan2", "adamw"])
@pytest.mark.parametrize("q_target", [t for t in Q_TARGETS if t != "every:2"])
def test_a_step_on_static_memory_reads_nothing_at_all(
    tiny_hrm: Any, source: Any, q_target: str, optimizer: Any
) -> None:
    """Without exception: what a CUDA graph is recorded from may not wait even for the host's numbers."""
    _, step = training(tiny_hrm, source, GraphedLearner, q_target, optimizer)
    for _ in range(5):
        with Watch() as watch:
            step()
        assert watch.count > 200 and not watch.waiting


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [Learner, GraphedLearner])
@pytest.mark.parametrize("optimizer", ["adam-atan2", "adamw"])
@pytest.mark.parametrize("q_target", Q_TARGETS)
def test_on_a_gpu_a_training_step_never_waits(
    tiny_hrm: Any, pool: Any, q_target: str, optimizer: Any, kind: Any
) -> None:
    if kind is GraphedLearner and q_target == "every:2":
        pytest.skip("its steps are not alike")
    source = PoolSource(pool, 6, symmetry=sudoku.symmetry(4), device="cuda")
    _, step = training(tiny_hrm, source, kind, q_target, optimizer, "cuda")
    for _ in range(5):  # compiled, timed and recorded
        step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            step()
        assert torch.cuda.get_sync_debug_mode() == 2  # "error": a wait would have raised
    finally:
        torch.cuda.set_sync_debug_mode("default")
