"""The row kernels against float64: in Triton's interpreter, and on a GPU where there is one.

The interpreter has to be chosen before Triton is imported, so it runs in a process of its own, once
for all kernels: `row_checks.py`, whose lines are judged here.
"""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import row_checks
from check_tools import Check
from step_checks import training

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[1]


def interpreted(*arguments: str) -> list[Check]:
    pytest.importorskip("triton", reason="Triton is for Linux only")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE / "row_checks.py"), *arguments],
        env=os.environ | {"TRITON_INTERPRET": "1", "HRM_KERNELS": "triton", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Check(**json.loads(line)) for line in done.stdout.splitlines()]


def assert_all_hold(checks: Iterable[Check], at_least: int) -> None:
    found = list(checks)
    assert len(found) >= at_least
    assert not [check for check in found if not check.error <= check.bar]  # NaN fails too


@pytest.fixture(scope="module")
def usual() -> list[Check]:
    return interpreted()


@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [
        *itertools.product(row_checks.CASES, ("float64", "float32", "float16")),
        ("adam_atan2", "float64"),
        ("adam_atan2", "float32"),  # master weights are never float16
    ],
)
def test_accuracy_in_the_interpreter(usual, kernel, dtype) -> None:
    assert_all_hold((c for c in usual if c.name.startswith(f"{kernel}.torch.{dtype}.")), at_least=6)


@pytest.mark.parametrize(
    ("what", "count"),
    [
        ("gradcheck", 4),  # the backward is the forward's derivative, in float64
        ("untouched", 7),  # nothing is written beyond the rows given
        ("strides", 2),
        ("empty", 2),
        ("small_losses", 1),
        ("angles", 2),
        ("compiled", 8),  # torch.compile(fullgraph=True) launches the same kernels
        ("training", 2),  # a model's training steps beside the same in eager
    ],
)
def test_properties_in_the_interpreter(usual, what, count) -> None:
    assert_all_hold((c for c in usual if what in c.name.split(".")), at_least=count)


@pytest.mark.slow
def test_wide_sweep_of_shapes_in_the_interpreter() -> None:
    assert_all_hold(interpreted("--wide"), at_least=400)


def test_the_truth_about_small_losses_is_computed_in_eager(monkeypatch) -> None:
    """On a GPU the kernels are asked for by name, and the truth is computed on the CPU, which has none."""
    ran, computed = [], row_checks.stablemax_cross_entropy

    def noting(logits, labels):
        ran.append((str(logits.dtype), os.environ["HRM_KERNELS"]))
        with row_checks.mode("eager"):
            return computed(logits, labels)

    monkeypatch.setenv("HRM_KERNELS", "triton")
    monkeypatch.setattr(row_checks, "stablemax_cross_entropy", noting)
    assert_all_hold(row_checks.small_losses(), at_least=1)
    assert ran == [("torch.float64", "eager"), ("torch.float32", "triton")]


# --- on a GPU -------------------------------------------------------------------------------------


@pytest.fixture
def forced(monkeypatch) -> None:
    monkeypatch.setenv("HRM_KERNELS", "triton")


@pytest.mark.gpu
@pytest.mark.parametrize("wide", [False, True])
def test_all_checks_on_the_gpu(forced, wide) -> None:
    assert_all_hold(row_checks.every("cuda", wide), at_least=100)


@pytest.mark.gpu
def test_bfloat16_is_no_worse_than_eager_on_the_gpu(forced) -> None:
    assert_all_hold(row_checks.against_eager("cuda"), at_least=8)


@pytest.mark.gpu
def test_training_steps_on_the_gpu(forced) -> None:
    assert_all_hold(training("cuda", steps=8), at_least=2)


@pytest.mark.gpu
def test_inductor_takes_the_operators_on_the_gpu(forced) -> None:
    assert_all_hold(row_checks.compiled("cuda", "inductor"), at_least=8)


@pytest.mark.gpu
def test_a_cuda_graph_replays_optimizer_steps_with_a_changing_learning_rate(forced) -> None:
    import torch

    from hrm_rl.agents.learning.optim import AdamATan2

    def made(lr):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 5000, device="cuda"))
        return p, AdamATan2([p], lr, weight_decay=0.1)

    lr = torch.tensor(0.1, device="cuda")
    (p, optimizer), (plain, plain_optimizer) = made(lr), made(0.1)
    p.grad, plain.grad = torch.zeros_like(p), torch.zeros_like(p)
    optimizer.step()  # makes the state and compiles; counts as the first step
    plain_optimizer.step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    for step in range(4):
        grad = torch.randn(5000, generator=torch.Generator().manual_seed(step)).cuda()
        p.grad.copy_(grad)
        plain.grad.copy_(grad)
        lr.fill_(0.1 / (step + 1))
        plain_optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        graph.replay()
        plain_optimizer.step()
    torch.testing.assert_close(p, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.gpu
def test_a_cuda_graph_holds_a_forward_and_its_backward(forced) -> None:
    import torch

    case = row_checks.add_rms_norm_case(37, 512)
    leaves = [x.float().cuda().requires_grad_() for x in case.inputs]

    def step() -> list[torch.Tensor]:
        y = case.run(*leaves)
        return [y, *torch.autograd.grad(y.square().mean() + y[0].sum(), leaves)]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        held = step()
    with torch.no_grad():
        leaves[0].mul_(2)
    graph.replay()
    for a, b in zip(held, step(), strict=True):
        torch.testing.assert_close(a, b)
