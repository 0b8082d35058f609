"""The row kernels against float64: in Triton's interpreter, and on a GPU if there is one."""

import itertools
import os

import pytest
import row_checks
import torch
from check_tools import Check, assert_all_hold, captured, interpreted
from step_checks import training

from hrm_rl.agents.learning.optim import AdamATan2


@pytest.fixture(scope="module")
def usual() -> list[Check]:
    return interpreted("row_checks.py")


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
    assert_all_hold(interpreted("row_checks.py", "--wide"), at_least=400)


def test_exact_small_losses_are_computed_in_eager(monkeypatch) -> None:
    """HRM_KERNELS=triton, as on a GPU, is refused for the exact losses, which are computed on the CPU."""
    ran, computed = [], row_checks.stablemax_cross_entropy

    def noting(logits, labels):
        ran.append((str(logits.dtype), os.environ["HRM_KERNELS"]))
        with row_checks.forced("eager"):
            return computed(logits, labels)

    monkeypatch.setenv("HRM_KERNELS", "triton")
    monkeypatch.setattr(row_checks, "stablemax_cross_entropy", noting)
    assert_all_hold(row_checks.small_losses(), at_least=1)
    assert ran == [("torch.float64", "eager"), ("torch.float32", "triton")]


# --- on a GPU -------------------------------------------------------------------------------------


@pytest.fixture
def triton_by_name(monkeypatch) -> None:
    monkeypatch.setenv("HRM_KERNELS", "triton")


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("checks", "arguments", "count"),
    [
        (row_checks.every, ("cuda", False), 100),
        (row_checks.every, ("cuda", True), 100),
        (row_checks.against_eager, ("cuda",), 8),  # in bfloat16
        (training, ("cuda", 8), 2),
        (row_checks.compiled, ("cuda", "inductor"), 8),
    ],
)
def test_checks_on_the_gpu(triton_by_name, checks, arguments, count) -> None:
    assert_all_hold(checks(*arguments), at_least=count)


@pytest.mark.gpu
def test_a_cuda_graph_replays_optimizer_steps_with_a_changing_learning_rate(triton_by_name) -> None:
    def made(lr):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 5000, device="cuda"))
        p.grad = torch.zeros_like(p)
        return p, AdamATan2([p], lr, weight_decay=0.1)

    lr = torch.tensor(0.1, device="cuda")
    (p, optimizer), (plain, plain_optimizer) = made(lr), made(0.1)
    _, replay = captured(optimizer.step)
    for _ in range(2):  # as `captured`
        plain_optimizer.step()
    for step in range(4):
        grad = torch.randn(5000, generator=torch.Generator().manual_seed(step)).cuda()
        p.grad.copy_(grad)
        plain.grad.copy_(grad)
        lr.fill_(0.1 / (step + 1))
        plain_optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        replay()
        plain_optimizer.step()
    torch.testing.assert_close(p, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.gpu
def test_a_cuda_graph_holds_a_forward_and_its_backward(triton_by_name) -> None:
    case = row_checks.add_rms_norm_case(37, 512)
    leaves = [x.float().cuda().requires_grad_() for x in case.inputs]

    def step() -> list[torch.Tensor]:
        y = case.run(*leaves)
        return [y, *torch.autograd.grad(y.square().mean() + y[0].sum(), leaves)]

    held, replay = captured(step)
    with torch.no_grad():
        leaves[0].mul_(2)
    replay()
    for a, b in zip(held, step(), strict=True):
        torch.testing.assert_close(a, b)
