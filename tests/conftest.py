"""What all tests share: one thread, no window, no hurry.

The numeric libraries read the thread counts once, when they are first imported, so they are set
here, before any test module is. Tensors in the tests are small: more threads buy nothing, and two
OpenMP threads that share a busy core wait for one another, which is many times slower than one.
A value already in the environment wins.
"""

import os
from collections.abc import Callable
from typing import Any

for _variable in (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest  # noqa: E402

try:
    from hypothesis import settings
except ImportError:  # the dev extra has it; tests that use it skip themselves
    pass
else:
    # A loaded machine is no failing example.
    settings.register_profile("hrm_rl", parent=settings(), deadline=None)
    settings.load_profile("hrm_rl")


@pytest.fixture(scope="session")
def tiny_hrm() -> Callable[..., Any]:
    """Makes a tiny HRM for 4x4 Sudoku, the same for the same changes to its configuration."""
    import torch

    from hrm_rl.model import HRM, HRMConfig

    def make(seed: int = 0, **changes: Any) -> HRM:
        settings: dict[str, Any] = {
            "vocab_size": 6,
            "seq_len": 16,
            "puzzle_emb_ndim": 0,
            "hidden_size": 32,
            "num_heads": 2,
            "H_layers": 1,
            "L_layers": 1,
            "pos_encodings": "learned",
            "halt_max_steps": 4,
            "forward_dtype": "float32",
        }
        torch.manual_seed(seed)
        return HRM(HRMConfig(**(settings | changes)))

    return make


@pytest.fixture(scope="session")
def restless_hrm(tiny_hrm) -> Callable[..., Any]:
    """Makes a tiny HRM whose rows halt at different segments; the seed was searched for that."""
    import torch

    def make(**changes: Any) -> Any:
        model = tiny_hrm(seed=26, **changes)
        torch.nn.init.normal_(model.q_head.weight, std=0.3)
        model.q_head.bias.data = torch.tensor([-1.0, 0.0])
        return model

    return make


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked gpu where there is no CUDA device; torch loads only if something is."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
