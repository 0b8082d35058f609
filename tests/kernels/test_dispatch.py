"""Choice of the kernels by HRM_KERNELS and the machine, and its messages."""

import logging
import os
import subprocess
import sys

import pytest
import torch

from hrm_rl.kernels import dispatch

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def machine(monkeypatch) -> None:
    """A machine with a Hopper GPU and a new Triton; HRM_KERNELS is not set."""
    monkeypatch.delenv("HRM_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(dispatch, "_triton_version", lambda: (3, 7))
    for cached in (dispatch._obstacle, dispatch.warn_once):
        cached.cache_clear()
    yield
    for cached in (dispatch._obstacle, dispatch.warn_once):
        cached.cache_clear()


OBSTACLES = {
    "triton is not installed": (dispatch, "_triton_version", lambda: None),
    "triton 3.1 is older than 3.2": (dispatch, "_triton_version", lambda: (3, 1)),
    "7.5 has no bfloat16": (torch.cuda, "get_device_capability", lambda device: (7, 5)),
    "made for NVIDIA GPUs": (torch.version, "hip", "6.2"),
}


def test_auto_is_triton_on_a_gpu_and_eager_elsewhere(monkeypatch) -> None:
    assert dispatch.backend(GPU) == "triton"
    assert dispatch.backend(CPU) == "eager"
    assert dispatch.backend(torch.device("mps")) == "eager"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert dispatch.backend(CPU) == "eager"  # the interpreter only by name


@pytest.mark.parametrize("reason", list(OBSTACLES))
def test_auto_falls_back_on_a_gpu_with_one_log_line_and_triton_refuses(reason, monkeypatch, caplog) -> None:
    monkeypatch.setattr(*OBSTACLES[reason])
    with caplog.at_level(logging.WARNING, "hrm_rl"):
        assert {dispatch.backend(GPU) for _ in range(3)} == {"eager"}
    (record,) = caplog.records
    assert reason in record.message and "cuda:0" in record.message
    monkeypatch.setenv("HRM_KERNELS", "triton")
    with pytest.raises(ValueError, match=reason):
        dispatch.backend(GPU)


def test_triton_by_name_runs_on_a_cpu_in_the_interpreter_alone(monkeypatch) -> None:
    monkeypatch.setenv("HRM_KERNELS", "triton")
    assert dispatch.backend(GPU) == "triton"
    with pytest.raises(ValueError, match=r"HRM_KERNELS=triton cannot run here: .* on cpu"):
        dispatch.backend(CPU)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert dispatch.interpreting() and dispatch.backend(CPU) == "triton"


def test_eager_by_name_holds_everywhere(monkeypatch, caplog) -> None:
    monkeypatch.setenv("HRM_KERNELS", "eager")
    assert dispatch.backend(GPU) == dispatch.backend(CPU) == "eager"
    assert not caplog.records


@pytest.mark.parametrize("value", ["cuda", "Triton", ""])
def test_another_word_is_refused_by_name(value, monkeypatch) -> None:
    monkeypatch.setenv("HRM_KERNELS", value)
    with pytest.raises(ValueError, match=f"one of auto, eager, triton; got '{value}'"):
        dispatch.backend(CPU)


@pytest.mark.parametrize(("asked", "compiled"), [("auto", False), ("triton", True)])
def test_under_compile_auto_leaves_fusing_to_inductor(asked, compiled, monkeypatch) -> None:
    monkeypatch.setenv("HRM_KERNELS", asked)
    assert dispatch.uses_triton(GPU)

    def run(x: torch.Tensor) -> torch.Tensor:
        return x + 1 if dispatch.uses_triton(GPU) else x - 1

    torch._dynamo.reset()
    graph = torch.compile(run, fullgraph=True, backend="eager")
    assert graph(torch.zeros(())).item() == (1 if compiled else -1)


def test_kernels_and_model_import_and_run_without_triton() -> None:
    program = (
        "import sys; sys.modules['triton'] = None\n"  # what makes `import triton` fail
        "import torch\n"
        "from hrm_rl.kernels import adam_atan2, dispatch, rms_norm, rope, stablemax, swiglu\n"
        "assert 'torch._dynamo' not in sys.modules, 'a second and more at every start'\n"
        "import hrm_rl.model, hrm_rl.agents.learning.losses, hrm_rl.agents.learning.optim\n"
        "x = torch.ones(2, 4, requires_grad=True)\n"
        "rms_norm.add_rms_norm(x, swiglu.swiglu(torch.cat((x, x), -1)), 1e-5).sum().backward()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
