"""The row kernels without Triton: the eager twins, and the operators that torch.compile sees.

On a CPU an operator runs its eager twin: the kernel's formulas, such as a backward pass from the norm's
output, in plain PyTorch.
"""

import check_tools
import pytest
import row_checks
import torch

from hrm_rl.agents.learning.optim import AdamATan2
from hrm_rl.kernels import adam_atan2, dispatch, rms_norm, rope, stablemax, swiglu

BARS = check_tools.BARS | {torch.float16: 1.5e-3}  # eager rounds in between too


@pytest.fixture(autouse=True)
def eager(monkeypatch) -> None:
    monkeypatch.setenv("HRM_KERNELS", "eager")


@pytest.fixture
def operators(monkeypatch) -> None:
    """Compiled code takes the operators, as with HRM_KERNELS=triton on a GPU."""
    monkeypatch.setattr(dispatch, "uses_triton", lambda device: torch.compiler.is_compiling())


def compiled(run, backend="aot_eager"):
    torch._dynamo.reset()
    return torch.compile(run, fullgraph=True, backend=backend)


@pytest.mark.parametrize("dtype", list(BARS), ids=str)
@pytest.mark.parametrize("kernel", list(row_checks.CASES))
def test_eager_against_float64(kernel, dtype) -> None:
    maker, usual, sweep = row_checks.CASES[kernel]
    for shape in usual + sweep[:3]:
        found = row_checks.errors(maker(*shape), dtype, "cpu")
        assert max(found.values()) < BARS[dtype], (shape, found)


def test_eager_gradients_against_finite_differences() -> None:
    assert [check.name for check in row_checks.gradients() if check.error != 0] == []


@pytest.fixture
def case(request) -> row_checks.Case:
    """A kernel at its first shape."""
    maker, usual, _ = row_checks.CASES[request.param]
    return maker(*usual[0])


every_kernel = pytest.mark.parametrize("case", list(row_checks.CASES), indirect=True)


@every_kernel
def test_operators_are_in_one_graph(case, operators) -> None:
    graphs = []

    def record(graph, example):
        graphs.append(graph.print_readable(print_output=False))
        return graph

    row_checks.errors(case._replace(run=compiled(case.run, record)), torch.float32, "cpu")
    assert len(graphs) == 1 and "torch.ops.hrm_rl." in graphs[0]


@every_kernel
@pytest.mark.parametrize(
    ("with_operators", "backend"),
    [(True, "aot_eager"), (False, "aot_eager"), pytest.param(True, "inductor", marks=pytest.mark.slow)],
)
def test_compiled_against_float64(case, request, with_operators, backend) -> None:
    if with_operators:
        request.getfixturevalue("operators")
    found = row_checks.errors(case._replace(run=compiled(case.run, backend)), torch.float32, "cpu")
    assert max(found.values()) < 1e-6, found


@pytest.mark.parametrize("case", ["add_rms_norm", "swiglu", "rope"], indirect=True)
def test_bfloat16_of_the_kernels_formulas_is_as_good_as_eager(case, operators) -> None:
    """A backward pass from the rounded output, and one rounding instead of two."""
    eager = row_checks.errors(case, torch.bfloat16, "cpu")
    found = row_checks.errors(case._replace(run=compiled(case.run)), torch.bfloat16, "cpu")
    for what, error in found.items():
        assert error <= 1.3 * eager[what], (what, error, eager[what])


def arguments() -> dict[str, tuple[object, tuple[object, ...]]]:
    """Each operator with the arguments of a call."""
    x, y = torch.randn(3, 8), torch.randn(3, 8)
    q, k, tables = torch.randn(2, 3, 2, 4), torch.randn(2, 3, 2, 4), torch.randn(2, 3, 4)
    labels, row = torch.tensor([0, 5, 7]), torch.rand(3) + 1

    def leaf(t: torch.Tensor) -> torch.Tensor:
        return t.clone().requires_grad_()

    return {
        "add_rms_norm": (rms_norm.forward_op, (leaf(x), leaf(y), 1e-5)),
        "rms_norm_backward": (rms_norm.backward_op, (x, y, row)),
        "swiglu": (swiglu.forward_op, (leaf(x),)),
        "swiglu_backward": (swiglu.backward_op, (x[:, :4].contiguous(), y)),
        "rope": (rope.rope_op, (leaf(q), leaf(k), tables, False)),
        "stablemax": (stablemax.forward_op, (leaf(x), labels)),
        "stablemax_backward": (stablemax.backward_op, (row, x, labels, row, row)),
        "adam_atan2": (
            adam_atan2.step_op,
            (x, y, x * 0, y.abs(), torch.ones(()), torch.tensor(0.1), 0.9, 0.95, 0.1),
        ),
    }


@pytest.mark.parametrize("name", list(arguments()))
def test_opcheck(name) -> None:
    operator, given = arguments()[name]
    torch.library.opcheck(operator, given)


def test_compiled_optimizer_steps_like_eager(operators) -> None:
    shapes = [(3, 4), (5,)]

    def fresh():
        tensors = [[torch.linspace(-1, 1, 12)[: s[0]].clone() for s in shapes] for _ in range(2)]
        zeros = [[torch.zeros(s[0]) for s in shapes] for _ in range(2)]
        return [*tensors, *zeros, [torch.zeros(()) for _ in shapes]]

    def step(state, lr):
        adam_atan2.adam_atan2_(*state, lr=lr, betas=(0.9, 0.95), weight_decay=0.1)

    direct, traced = fresh(), fresh()
    graph = compiled(step)
    for lr in (0.1, 0.05):
        step(direct, lr)
        graph(traced, torch.tensor(lr))
    for a, b in zip(direct, traced, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_shapes_without_a_kernel_run_eager(monkeypatch) -> None:
    """A launch would fail here, without a GPU."""
    monkeypatch.setattr(dispatch, "uses_triton", lambda device: True)
    x = torch.randn(2, 8)
    with pytest.raises((RuntimeError, ImportError)):
        rms_norm.add_rms_norm(x, x, 1e-5)
    wide = torch.randn(2, rms_norm.WIDEST + 1)
    assert rms_norm.add_rms_norm(wide, wide, 1e-5).shape == wide.shape
    assert rms_norm.add_rms_norm(x, x.double(), 1e-5).dtype == torch.float64
    heads = torch.randn(1, 3, 2, rope.WIDEST + 2)
    turned, _ = rope.rope(heads, heads, torch.ones(2, 3, rope.WIDEST + 2))
    assert turned.shape == heads.shape
    logits = torch.randn(2, stablemax.WIDEST + 1)
    assert stablemax.stablemax_cross_entropy(logits, torch.tensor([0, 9])).shape == (2,)
    p = torch.nn.Parameter(torch.randn(4, 3).t())
    p.grad = torch.ones(3, 4)
    before = p.detach().clone()
    AdamATan2([p], 0.1).step()
    assert (p < before).all()


def test_a_tensor_learning_rate_steps_like_a_number() -> None:
    stepped = []
    for number in (True, False):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 7))
        lr = torch.tensor(0.1, dtype=torch.float64)
        optimizer = AdamATan2([p], 0.1 if number else lr, weight_decay=0.1)
        for now in (0.1, 0.05):
            lr.fill_(now)
            if number:
                optimizer.param_groups[0]["lr"] = now
            p.grad = torch.linspace(2, -1, 7)
            optimizer.step()
        stepped.append(p.detach())
    assert torch.equal(*stepped)


def test_a_second_derivative_is_refused_rather_than_wrong() -> None:
    logits = torch.randn(2, 5, requires_grad=True)
    loss = stablemax.stablemax_cross_entropy(logits, torch.tensor([0, 1])).sum()
    (grad,) = torch.autograd.grad(loss, logits, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        grad.sum().backward()
