"""Shared by the checks of the kernels: errors, their bars, the interpreter's process, CUDA graphs."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hrm_rl.kernels.graphs import CudaRecorder

EPS = 1e-5
# The largest root mean square error, relative to that of the exact result.
BARS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-3}


class Check(NamedTuple):
    """An error and its upper bound."""

    name: str
    error: float
    bar: float


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative(found: Tensor, wanted: Tensor) -> float:
    """The root mean square of the error over that of the exact result."""
    found, wanted = found.detach().double().cpu(), wanted.detach().double().cpu()
    assert found.shape == wanted.shape
    return ((found - wanted).norm() / wanted.norm().clamp_min(1e-300)).item()


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """Fill new memory with NaN, as PyTorch's deterministic mode does, so that unwritten elements show."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert torch.empty_like(torch.ones(3)).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def interpreted(script: str, *arguments: str) -> list[Check]:
    """The checks that a script of this folder prints, in a new process: Triton's interpreter must be
    chosen before Triton is imported. Skips the test without Triton."""
    import pytest

    pytest.importorskip("triton", reason="Triton is for Linux only")
    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(here / script), *arguments],
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


def captured(run: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
    """The outputs of `run` recorded as a CUDA graph, and its replay; runs it twice."""
    recorder = CudaRecorder(torch.device("cuda"))
    recorder.warm_up(run)
    return recorder.record(run)
