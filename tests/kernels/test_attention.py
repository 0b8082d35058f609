"""Choice of the attention kernel: with a given clock on a CPU, by measured times on a GPU."""

import logging

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from hrm_rl.kernels import attention
from hrm_rl.kernels.attention import Shape, choose, fused_attention

CUDNN, FLASH, EFFICIENT = attention.CANDIDATES
SHAPE = Shape(torch.device("cpu"), torch.float32, 2, 3, 5, 8, True)


class Clock:
    """Returns the given times, None for other kernels, and notes its calls."""

    def __init__(self, times: dict[SDPBackend | None, float]) -> None:
        self.times, self.calls = times, []

    def __call__(self, shape: Shape, backend: SDPBackend | None) -> float | None:
        self.calls.append((shape, backend))
        return self.times.get(backend)


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        ({None: 1.0, CUDNN: 0.5, FLASH: 0.7, EFFICIENT: 0.6}, CUDNN),
        ({None: 1.0, FLASH: 0.7, EFFICIENT: 0.6}, EFFICIENT),  # one does not take the shape
        ({None: 1.0, CUDNN: 0.97, FLASH: 1.0}, None),  # too close to tell from noise
        ({None: 1.0}, None),  # only PyTorch's pick works
        ({CUDNN: 0.5}, None),  # nothing to compare with
    ],
)
def test_the_fastest_is_pinned_where_it_clearly_wins(times, wanted) -> None:
    assert choose(SHAPE, Clock(times)) == wanted


def test_the_choice_is_logged(caplog) -> None:
    with caplog.at_level(logging.INFO, "hrm_rl"):
        choose(SHAPE, Clock({None: 1e-4, CUDNN: 5e-5, FLASH: 7e-5}))
    (record,) = caplog.records
    assert "2x3x5x8 with gradient: CUDNN_ATTENTION" in record.message
    assert "pick 100, CUDNN_ATTENTION 50, FLASH_ATTENTION 70" in record.message


# --- once a shape ---------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """A machine where plain products win, the only kernel that a CPU can pin."""
    clock = Clock({None: 1.0, SDPBackend.MATH: 0.5})
    monkeypatch.delenv("HRM_ATTENTION", raising=False)
    monkeypatch.setattr(attention, "CANDIDATES", (SDPBackend.MATH,))
    monkeypatch.setattr(attention, "_choices", {})
    monkeypatch.setattr(attention, "seconds", clock)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return clock


def heads(tokens: int = 5, gradient: bool = False, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(tokens)
    return (
        torch.randn(2, 3, tokens, 8, generator=generator).to(dtype).requires_grad_(gradient) for _ in range(3)
    )


def on_gpu(*qkv: torch.Tensor) -> torch.Tensor:
    """The function for a GPU, on tensors of a CPU."""
    return attention._attention_on_gpu(*qkv)


def test_every_shape_is_timed_once_and_the_pinned_kernel_runs(clock) -> None:
    for _ in range(3):
        for q, k, v in (heads(), heads(6), heads(gradient=True), heads(dtype=torch.float64)):
            torch.testing.assert_close(on_gpu(q, k, v), F.scaled_dot_product_attention(q, k, v))
    q, k, v = heads(gradient=True)
    with torch.no_grad():
        on_gpu(q, k, v)  # no backward pass: the first shape again
    assert len(clock.calls) == 4 * 2
    assert {shape.gradient for shape, _ in clock.calls} == {True, False}
    assert set(attention._choices.values()) == {SDPBackend.MATH}
    # Plain products, although PyTorch picks the CPU's fused kernel.
    assert "FlashAttention" in type(fused_attention(q, k, v).grad_fn).__name__
    assert "FlashAttention" not in type(on_gpu(q, k, v).grad_fn).__name__


def test_nothing_is_timed_while_a_graph_is_recorded(clock, monkeypatch) -> None:
    for recording, calls in ((True, 0), (False, 2), (True, 2)):
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda recording=recording: recording)
        on_gpu(*heads())
        assert len(clock.calls) == calls and len(attention._choices) == calls / 2


def test_nothing_is_timed_on_a_cpu_or_if_the_choice_is_made(clock, monkeypatch) -> None:
    q, k, v = heads(gradient=True)
    assert torch.equal(fused_attention(q, k, v), F.scaled_dot_product_attention(q, k, v))
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        assert "FlashAttention" in type(on_gpu(q, k, v).grad_fn).__name__
    torch.use_deterministic_algorithms(True)
    try:
        on_gpu(q, k, v)
    finally:
        torch.use_deterministic_algorithms(False)
    monkeypatch.setenv("HRM_ATTENTION", "torch")
    on_gpu(q, k, v)
    assert not clock.calls
    monkeypatch.setenv("HRM_ATTENTION", "fast")
    with pytest.raises(ValueError, match="HRM_ATTENTION must be one of auto, torch; got 'fast'"):
        on_gpu(q, k, v)


def test_the_work_that_is_timed_runs_forward_and_backward(monkeypatch) -> None:
    state = torch.get_rng_state()
    for gradient in (False, True):
        for backend in (None, SDPBackend.MATH):
            with torch.no_grad():  # whatever the caller has
                attention.attention_work(SHAPE._replace(gradient=gradient), backend)()
    assert torch.equal(torch.get_rng_state(), state)


# --- torch.compile --------------------------------------------------------------------------------


@pytest.fixture
def compiled(clock):
    torch._dynamo.reset()
    yield lambda **options: torch.compile(on_gpu, fullgraph=True, backend="eager", **options)
    torch._dynamo.reset()


@pytest.mark.skipif(
    attention.torch_version() < attention._TRACES_PINNED, reason="PyTorch picks in older versions"
)
def test_compiled_code_holds_the_choice_of_its_shape(compiled, clock) -> None:
    """Chosen while tracing, on real tensors: the clock is read, and the work runs."""
    real = []
    clock_call = clock.__call__

    def timed(shape, backend):
        attention.attention_work(shape, backend)()
        real.append(float(torch.ones(2).sum()))
        return clock_call(shape, backend)

    attention.seconds = timed
    run = compiled(dynamic=False)
    for tokens in (5, 6, 5):
        q, k, v = heads(tokens, gradient=True)
        torch.testing.assert_close(run(q, k, v), F.scaled_dot_product_attention(q, k, v))
    assert real == [2.0] * 4
    assert [shape.tokens for shape in attention._choices] == [5, 6]


@pytest.mark.parametrize("dynamic", [True, None])
def test_compiled_for_any_size_the_pick_is_pytorchs(compiled, clock, dynamic) -> None:
    run = compiled(dynamic=dynamic)
    for tokens in (5, 6, 7):
        q, k, v = heads(tokens)
        torch.testing.assert_close(run(q, k, v), F.scaled_dot_product_attention(q, k, v))
    assert len(attention._choices) <= (0 if dynamic else 1)


# --- on a GPU -------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("gradient", [False, True])
def test_on_a_gpu_kernels_are_timed_and_agree(monkeypatch, gradient) -> None:
    monkeypatch.delenv("HRM_ATTENTION", raising=False)
    monkeypatch.setattr(attention, "_choices", {})
    shape = Shape(torch.device("cuda", 0), torch.bfloat16, 8, 8, 82, 64, gradient)
    assert attention.seconds(shape, None) > 0
    assert any(attention.seconds(shape, backend) for backend in attention.CANDIDATES)
    generator = torch.Generator("cuda").manual_seed(0)
    q, k, v = (torch.randn(8, 8, 82, 64, generator=generator, device="cuda").bfloat16() for _ in range(3))
    q.requires_grad_(gradient)
    found = fused_attention(q, k, v)
    assert len(attention._choices) == 1
    exact = F.scaled_dot_product_attention(q.double(), k.double(), v.double())
    torch.testing.assert_close(found.double(), exact, atol=2e-2, rtol=2e-2)
    assert fused_attention(q, k, v).shape == found.shape
    assert len(attention._choices) == 1
